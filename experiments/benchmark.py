"""Measures dlcore on this machine.

  benchmark.py tax      the training loop against a bare loop of its step
  benchmark.py watch    the norms of every layer, with and without
  benchmark.py peers    the same training steps in PyTorch, where installed
  benchmark.py input    examples per second of every path of the data
  benchmark.py start    imports, and the time to the first step

Measurements that are compared alternate in one run. The last line is one
JSON object; --output=FILE keeps it.
"""

import json
import os
import platform
import time
from pathlib import Path

from absl import flags
from benchmarks import input_paths, peers, start, tax, watch

from dlcore import command
from dlcore.errors import UserError, lookup

BENCHMARKS = {
  "tax": tax.measure,
  "watch": watch.measure,
  "peers": peers.measure,
  "input": input_paths.measure,
  "start": start.measure,
}

REPEATS = flags.DEFINE_integer("repeats", 5, "how often each is measured")
OUTPUT = flags.DEFINE_string("output", "", "a file for the JSON object")


def main():
  """Runs the benchmark named on the command line."""
  names = command.arguments()
  if len(names) != 1:
    raise UserError(
      "expected the name of one benchmark",
      f"got {' '.join(names) or 'none'}",
      f"there are: {', '.join(BENCHMARKS)}",
    )
  measure = lookup(BENCHMARKS, names[0], "benchmark")
  result = {
    "benchmark": names[0],
    "date": time.strftime("%Y-%m-%d"),
    "machine": f"{os.cpu_count()} x {platform.machine()}",
    **measure(REPEATS.value),
  }
  if OUTPUT.value:
    Path(OUTPUT.value).write_text(json.dumps(result, indent=1) + "\n")
  print(json.dumps(result))


if __name__ == "__main__":
  command.run(main)

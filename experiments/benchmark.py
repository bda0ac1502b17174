"""Measures dlcore on this machine.

  benchmark.py tax                 the training loop against a bare loop
  benchmark.py layer_statistics    a run with and without them
  benchmark.py peers               the same training steps in PyTorch
  benchmark.py convolutions        the convolutions for CPU against XLA's
  benchmark.py population          many runs in one program against one by one
  benchmark.py input               examples per second of every data path
  benchmark.py start               imports, and the time to the first step

Compared measurements alternate in one process. The last line is one JSON
object; --output=FILE writes it to a file.
"""

import json
from pathlib import Path

from absl import flags
from benchmarks import (
  convolutions,
  input_paths,
  layer_statistics,
  peers,
  population,
  start,
  tax,
)

from dlcore import command
from dlcore.errors import UserError, lookup
from dlcore.provenance import provenance

BENCHMARKS = {
  "tax": tax.measure,
  "layer_statistics": layer_statistics.measure,
  "peers": peers.measure,
  "convolutions": convolutions.measure,
  "population": population.measure,
  "input": input_paths.measure,
  "start": start.measure,
}

REPEATS = flags.DEFINE_integer("repeats", 5, "number of measurements of each")
OUTPUT = flags.DEFINE_string("output", "", "a file for the JSON object")


def main():
  """Runs the benchmark that the command line names."""
  names = command.arguments()
  if len(names) != 1:
    raise UserError(
      "expected the name of one benchmark",
      f"got {' '.join(names) or 'none'}",
      f"choose from {', '.join(BENCHMARKS)}",
    )
  measure = lookup(BENCHMARKS, names[0], "benchmark")
  result = {
    "benchmark": names[0],
    **provenance(Path(__file__).parent),
    **measure(REPEATS.value),
  }
  if OUTPUT.value:
    Path(OUTPUT.value).write_text(json.dumps(result, indent=1) + "\n")
  print(json.dumps(result))


if __name__ == "__main__":
  command.run(main)

"""Trains the configs with several seeds: scores and times for the README.

  scores.py --manual_dir=DIR [--only=digits_cnn,mnist_fast]

Each run is the command that a user would type, timed from its start to its
exit. Runs follow one another. DIR holds the four original files of MNIST;
without it they are downloaded. --output is read by experiments/results.py.
"""

import json
import statistics
from pathlib import Path

import timed_runs
from absl import flags

from dlcore import command
from dlcore.errors import lookup

BFLOAT16 = {"training.dtype": "bfloat16"}
RUNS: dict[str, tuple[int, dict]] = {
  "digits_cnn": (10, {}),
  "digits_cnn bfloat16": (10, BFLOAT16),
  "digits_mlp": (5, {}),
  "breast_cancer_mlp": (5, {}),
  "diabetes_mlp": (5, {}),
  "mnist_fast": (3, {}),
  "mnist_fast bfloat16": (3, BFLOAT16),
  "mnist_cnn": (3, {}),
  "mnist_small": (3, {}),
  "mnist_deep": (3, {}),
}
"""The number of seeds and the overrides of each config."""

WORKDIR = flags.DEFINE_string("workdir", "runs/scores", "folder of the runs")
MANUAL_DIR = flags.DEFINE_string("manual_dir", "", "the files of MNIST")
ONLY = flags.DEFINE_list("only", [], "some of the configs")
NOTE = flags.DEFINE_string("note", "", "a remark on the times, for the table")
OUTPUT = flags.DEFINE_string(
  "output", "experiments/results/scores.json", "the file of the results"
)


def main():
  """Finishes the runs in --workdir and writes --output."""
  output = Path(OUTPUT.value)
  results = json.loads(output.read_text()) if output.exists() else {}
  for name in ONLY.value or RUNS:
    count, _ = lookup(RUNS, name, "config")
    runs = [_run(name, seed) for seed in range(count)]
    results[name] = {**timed_runs.of_seeds(runs), "note": NOTE.value}
    for metric, values in results[name]["metrics"].items():
      mean, spread = statistics.mean(values), statistics.stdev(values)
      print(f"{name:18} {metric:15} {mean:9.4f} +- {spread:.4f}", flush=True)
    output.write_text(json.dumps(results, indent=1) + "\n")


def _run(name: str, seed: int) -> dict:
  """Returns the summary of one run, with its wall time."""
  folder = Path(WORKDIR.value) / f"{name.replace(' ', '_')}_{seed}"
  overrides = RUNS[name][1]
  if name.startswith("mnist") and MANUAL_DIR.value:
    manual_dir = str(Path(MANUAL_DIR.value).absolute())
    overrides = overrides | {"data.manual_dir": manual_dir}
  return timed_runs.finish(name.split()[0], folder, seed, overrides)


if __name__ == "__main__":
  command.run(main)

"""Evaluates the best (or given) checkpoint of a run.

  evaluate.py --workdir=runs/digits_cnn --split=test

The last line is one JSON object.
"""

import json

from absl import flags

from dlcore import command

WORKDIR = flags.DEFINE_string("workdir", None, "the run folder")
SPLIT = flags.DEFINE_string("split", "test", "train, valid or test")
STEP = flags.DEFINE_integer("step", None, "the checkpoint (default: the best)")


def main():
  """Prints the metrics of --split."""
  from dlcore import experiment

  command.no_arguments()
  workdir = command.required(WORKDIR)
  result = experiment.evaluate(workdir, SPLIT.value, STEP.value)
  for name, value in result.items():
    print(
      f"{name:>12}  {value:.4f}"
      if isinstance(value, float)
      else f"{name:>12}  {value}"
    )
  print(json.dumps(result))


if __name__ == "__main__":
  command.run(main)

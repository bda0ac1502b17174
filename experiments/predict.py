"""Predicts: one JSON line per image, row of a table or row of an .npz file.

  predict.py --workdir=runs/digits_cnn image.png folder/ ...

A folder stands for its files. An input that cannot be read, or whose prediction
is not finite, has a line with "error", and the exit code is then 2.
"""

import json

from absl import flags

from dlcore import command
from dlcore.errors import UserError

WORKDIR = flags.DEFINE_string("workdir", None, "the run folder")
STEP = flags.DEFINE_integer("step", None, "the checkpoint (default: the best)")


def main():
  """Prints a line for every input of the command line."""
  from dlcore import experiment

  workdir, paths = command.required(WORKDIR), command.arguments()
  if not paths:
    raise UserError(
      "expected files or folders to predict",
      "got none",
      "predict.py --workdir=DIR PATH...",
    )
  bad = 0
  for row in experiment.predict(workdir, paths, STEP.value):
    print(json.dumps(row), flush=True)
    bad += "error" in row
  if bad:
    raise UserError(
      "expected inputs that can be read and predicted",
      f"got {bad} that cannot",
      'their lines have "error" instead of a prediction',
    )


if __name__ == "__main__":
  command.run(main)

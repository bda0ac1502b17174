"""Predicts images, rows of tables and rows of .npz files.

  predict.py --workdir=runs/digits_cnn image.png folder/ ...
  predict.py --workdir=runs/table new.csv --output=predictions.csv

Prints one JSON line per input, in their order, or writes them to a file. A
folder stands for its files. An input that cannot be read, or whose prediction
is not finite, has an "error" in its place, and the exit code is then 2.
"""

import json

from absl import flags

from dlcore import command
from dlcore.errors import UserError
from dlcore.filesystem import printable

WORKDIR = flags.DEFINE_string("workdir", None, "the run folder")
STEP = flags.DEFINE_integer("step", None, "the checkpoint (default: the best)")
OUTPUT = flags.DEFINE_string(
  "output", None, "FILE.csv or FILE.jsonl, in place of lines on the terminal"
)


def main():
  """Predicts every input of the command line."""
  from dlcore import experiment

  workdir, paths = command.required(WORKDIR), command.arguments()
  if not paths:
    raise UserError(
      "expected files or folders to predict",
      "got none",
      "predict.py --workdir=DIR PATH...",
    )
  if OUTPUT.value is None:
    bad = 0
    for row in experiment.predict(workdir, paths, STEP.value):
      print(json.dumps(row), flush=True)
      bad += "error" in row
  else:
    output = command.required(OUTPUT)
    count, bad = experiment.write_predictions(
      workdir, paths, output, STEP.value
    )
    print(f"{count - bad:,} predictions in {printable(output)}")
  if bad:
    raise UserError(
      "expected inputs that can be read and predicted",
      f"got {bad:,} that cannot",
      'they have an "error" in place of a prediction',
    )


if __name__ == "__main__":
  command.run(main)

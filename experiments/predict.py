"""Predicts images, texts, rows of tables and rows of .npz files.

  predict.py --workdir=runs/digits_cnn image.png folder/ ...
  predict.py --workdir=runs/table new.csv --output=predictions.csv
  predict.py --workdir=runs/text --text="A text" --text="Another" letter.txt

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
TEXT = flags.DEFINE_multi_string(
  "text", None, "a text to predict; may be repeated"
)


def main():
  """Predicts every input of the command line."""
  from dlcore import experiment

  workdir, paths = command.required(WORKDIR), command.arguments()
  texts = TEXT.value or []
  if not paths and not texts:
    raise UserError(
      "expected files or folders to predict, or --text=TEXT",
      "got none",
      "predict.py --workdir=DIR PATH...",
    )
  if texts and OUTPUT.value is not None:
    raise UserError(
      "expected files as the inputs of --output",
      "got --text",
      "write the texts to a table, or omit --output",
    )
  if OUTPUT.value is None:
    bad = 0
    for row in experiment.predict(workdir, paths, STEP.value, texts):
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

"""Writes the report of a run, report.html, or a comparison of several runs.

report.py runs/digits_cnn                   again, into the folder of the run
report.py runs/digits_cnn runs/digits_mlp   both on one page
report.py runs/digits_cnn_seeds             the runs of train.py --seeds
"""

from pathlib import Path

from absl import flags

from dlcore import command
from dlcore.errors import UserError
from dlcore.filesystem import printable

OUTPUT = flags.DEFINE_string(
  "output",
  None,
  "the page (default: report.html in the one folder, or comparison.html here)",
)


def main():
  """Writes the page of the folders of the command line."""
  from dlcore import experiment, report

  folders = command.arguments()
  if not folders:
    raise UserError(
      "expected the folder of a run", "got none", "report.py DIR ..."
    )
  first = Path(folders[0])
  default = "comparison.html" if len(folders) > 1 else first / "report.html"
  has_output = OUTPUT.value is not None
  output = Path(command.required(OUTPUT) if has_output else default)
  if len(folders) > 1 or report.is_group(first):
    print(printable(report.compare(folders, output)))
  else:
    experiment.RunFolder(first).check()  # An error if it is not a run.
    print(printable(report.write(first, output)))


if __name__ == "__main__":
  command.run(main)

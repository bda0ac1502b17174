"""Writes the page about a run, report.html, or one that compares several.

report.py runs/digits_cnn                   anew, into the folder of the run
report.py runs/digits_cnn runs/digits_mlp   both on one page
report.py runs/digits_cnn_seeds             the runs that train.py --seeds made
"""

from pathlib import Path

from absl import flags

from dlcore import command
from dlcore.errors import UserError

OUTPUT = flags.DEFINE_string(
  "output",
  None,
  "the page (default: report.html in the one folder, or comparison.html here)",
)


def main():
  """Writes the page about the folders named on the command line."""
  from dlcore import experiment, report

  folders = command.arguments()
  if not folders:
    raise UserError(
      "expected the folder of a run", "got none", "report.py DIR ..."
    )
  first = Path(folders[0])
  usual = "comparison.html" if len(folders) > 1 else first / "report.html"
  given = OUTPUT.value is not None
  output = Path(command.required(OUTPUT) if given else usual)
  if len(folders) > 1 or report.is_group(first):
    print(report.compare(folders, output))
  else:
    experiment.RunFolder(first).config()
    print(report.write(first, output))


if __name__ == "__main__":
  command.run(main)

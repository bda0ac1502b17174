"""Writes the page report.html anew into each of the run folders.

report.py runs/digits_cnn
"""

from dlcore import command
from dlcore.errors import UserError


def main():
  """Writes a page for every folder named on the command line."""
  from dlcore import experiment, report

  folders = command.arguments()
  if not folders:
    raise UserError(
      "expected the folder of a run", "got none", "report.py DIR ..."
    )
  for folder in folders:
    experiment.RunFolder(folder).config()
    print(report.write(experiment.RunFolder(folder).path))


if __name__ == "__main__":
  command.run(main)

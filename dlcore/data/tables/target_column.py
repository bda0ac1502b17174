"""The target of a table: classes, a number, or several labels."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from dlcore.data.tables.column_types import ColumnType, to_names, to_numbers
from dlcore.data.tables.encoding import (
  MAX_INTEGER_CLASSES,
  check_categories,
)
from dlcore.data.tables.raw_columns import RawColumn
from dlcore.errors import UserError

SEPARATORS = (";", "|", ",")
"""Separators of several labels in a cell."""

LABELS_TASK = "multilabel"


@dataclasses.dataclass(frozen=True)
class Target:
  """The meaning of the target columns of a table."""

  names: tuple[str, ...]

  task: str
  """"classification", "regression" or "multilabel"."""

  types: tuple[ColumnType, ...]

  classes: tuple[str, ...] = ()

  separator: str = ""
  """Separator of several labels in a cell."""

  reason: str = ""
  """Why the task is this one, for a note."""

  @property
  def array(self) -> str:
    """Name of the array of the target."""
    return "target" if self.task == "regression" else "label"


def infer_target(
  name: str, column: RawColumn, found: ColumnType, task: str
) -> Target:
  """Returns the meaning of a target column.

  Args:
    name: of the column.
    column: its cells in the training file.
    found: its type.
    task: "classification", "regression", "multilabel" or "auto". This is
      regression for numbers other than at most 20 different integers that
      occur at least twice on average, multilabel for text with separators, and
      classification otherwise.

  Raises:
    UserError: the cells do not fit the task, or this is inferred and nearly
      every row has a class of its own.
  """
  if found.kind == "empty":
    raise UserError(
      f"expected values in the target {name!r}", "got empty cells only"
    )
  if column.overflow:
    raise _unfit(name, column, found)
  reason, chosen = "", task != "auto"
  if task == "auto":
    task, reason = _infer_task(column, found)
  if task == "regression":
    if found.kind != "number" or found.format == "boolean":
      raise _unfit(name, column, found, "numbers", 'set task="classification"')
    return Target((name,), task, (found,), reason=reason)
  if task == LABELS_TASK:
    separator = _separator(column.texts) or SEPARATORS[0]
    cells = to_names(column)[1]
    names = {label for cell in cells for label in labels(cell, separator)}
    classes = tuple(sorted(names))
  else:
    separator, classes = "", to_names(column)[1]
    rows = int((~column.missing).sum())
    repeats = 2 * len(classes) <= max(rows, 2 * MAX_INTEGER_CLASSES)
    if not repeats and not chosen:
      raise _unfit(name, column, found)
  check_categories(name, len(classes))
  return Target((name,), task, (found,), classes, separator, reason)


def infer_targets(
  columns: Mapping[str, RawColumn], types: Mapping[str, ColumnType], task: str
) -> Target:
  """Returns the meaning of several target columns, one label each.

  Raises:
    UserError: a cell is neither 0 or 1 nor a boolean, or `task` is another.
  """
  for name, column in columns.items():
    number = types[name].kind == "number"
    values = to_numbers(column, types[name]) if number else column.values
    values = values[~column.missing]
    if not number or not np.isin(values, (0.0, 1.0)).all():
      shown = ", ".join(to_names(column)[1][:5]) or "empty cells"
      raise UserError(
        f"expected 0 or 1, or booleans, in every cell of the target {name!r}",
        f"got {shown}",
        "set target to the name of a single column, if the labels exclude each "
        "other",
      )
  if task not in ("auto", LABELS_TASK):
    raise UserError(
      'expected task="multilabel" for several columns in targets',
      f"got {task=}",
      "set target to the name of a single column",
    )
  names = tuple(columns)
  return Target(names, LABELS_TASK, tuple(types.values()), names)


def _infer_task(column: RawColumn, found: ColumnType) -> tuple[str, str]:
  """Returns the task, and the reason for a note."""
  if found.kind == "number" and found.format != "boolean":
    known = to_numbers(column, found)
    known = known[~np.isnan(known)]
    values = np.unique(known)
    integers = bool((values == np.floor(values)).all())
    most = min(MAX_INTEGER_CLASSES, len(known) // 2)
    if len(values) > most or not integers:
      return "regression", f"{len(values):,} different numbers"
    return "classification", f"{len(values)} different integers"
  if _separator(column.texts, SEPARATORS[:2]):
    return LABELS_TASK, "cells with several labels"
  count = len(to_names(column)[1])
  return "classification", f"{count:,} different texts"


def _unfit(
  name: str,
  column: RawColumn,
  found: ColumnType,
  expected: str = "numbers, or classes that repeat,",
  remedy: str = 'choose another target, or set task="classification"',
) -> UserError:
  """Returns the error for a target whose cells do not fit the task."""
  kinds = {"number": "numbers", "date": "dates", "text": "texts"}
  kind = "booleans" if found.format == "boolean" else kinds[found.kind]
  shown = ", ".join(repr(text[:40]) for text in column.texts[:3])
  distinct = len(to_names(column)[1])
  rows = int((~column.missing).sum())
  example = f", such as {shown}" if shown else ""
  return UserError(
    f"expected {expected} in the target {name!r}",
    f"got {distinct:,} different {kind} in {rows:,} rows{example}",
    remedy,
  )


def _separator(
  texts: Sequence[str], separators: Sequence[str] = SEPARATORS
) -> str:
  """Returns the separator of cells with several labels, `""` without one.

  Some label occurs in two different cells.
  """
  for separator in separators:
    several = [text for text in texts if separator in text]
    if len(several) > 1:
      names = [name for text in texts for name in labels(text, separator)]
      if len(set(names)) < len(names):
        return separator
  return ""


def labels(cell: str, separator: str) -> list[str]:
  """Returns the labels in a cell."""
  return [name.strip() for name in cell.split(separator) if name.strip()]


def encode_target(
  target: Target, columns: Mapping[str, RawColumn]
) -> tuple[np.ndarray, np.ndarray, set[str]]:
  """Returns the target of some rows.

  Args:
    target: its meaning.
    columns: the cells of the target columns, and of any others, by name.

  Returns:
    float64 `[N]`, or `[N, C]` for several labels; bool `[N]`, true for rows
    that have a target; and the names of unknown classes.
  """
  if len(target.names) > 1:
    every = zip(target.names, target.types, strict=True)
    values = np.stack([to_numbers(columns[n], t) for n, t in every], axis=1)
    return values, np.isin(values, (0.0, 1.0)).all(axis=1), set()
  column = columns[next(iter(target.names))]
  if target.task == "regression":
    values = to_numbers(column, next(iter(target.types)))
    return values, ~np.isnan(values), set()
  positions, names = to_names(column)
  by_name = {name: i for i, name in enumerate(target.classes)}
  if target.task == LABELS_TASK:
    return _encode_labels(target.separator, by_name, positions, names)
  known = [by_name.get(name, -1) for name in names]
  values = np.asarray([*known, -1], np.float64)[positions]
  return values, positions >= 0, set(names) - by_name.keys()


def _encode_labels(
  separator: str,
  by_name: Mapping[str, int],
  positions: np.ndarray,
  names: Sequence[str],
) -> tuple[np.ndarray, np.ndarray, set[str]]:
  """Returns the labels of cells; a missing cell has none of them."""
  rows = np.zeros((len(names) + 1, len(by_name)))  # The last is missing.
  parts = [labels(name, separator) for name in names]
  for row, part in zip(rows, parts, strict=False):
    row[[by_name[name] for name in part if name in by_name]] = 1
  unknown = {name for part in parts for name in part} - by_name.keys()
  return rows[positions], np.ones(len(positions), bool), unknown


def to_array(values: np.ndarray, target: Target) -> np.ndarray:
  """Returns the values of a target as float32, those of classes as int32."""
  integers = target.task == "classification"
  return values.astype(np.int32 if integers else np.float32)


def is_skewed(values: np.ndarray) -> bool:
  """Returns whether positive numbers `[N]` have a less skewed logarithm.

  The skewness exceeds 1 and at least halves with the logarithm.
  """
  if len(values) < 3 or values.min() <= 0:
    return False
  skew = _skewness(values)
  return skew > 1 and 2 * abs(_skewness(np.log(values))) < skew


def _skewness(values: np.ndarray) -> float:
  deviation = values.std()
  if deviation == 0:
    return 0.0
  return float((((values - values.mean()) / deviation) ** 3).mean())

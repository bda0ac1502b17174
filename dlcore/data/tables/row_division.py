"""The division of the rows of a table into splits."""

from collections.abc import Mapping, Sequence

import numpy as np

from dlcore.data.split_checks import compare_classes
from dlcore.data.split_plan import Plan, make_plan
from dlcore.data.split_settings import SplitSettings
from dlcore.data.tables.column_types import infer, to_names, to_numbers
from dlcore.data.tables.raw_columns import RawTable
from dlcore.data.tables.row_selection import Part, row_hashes
from dlcore.data.tables.table_settings import TableSettings
from dlcore.data.tables.target_column import Target
from dlcore.errors import UserError


def divide(
  parts: Mapping[str, Part],
  names: Sequence[str],
  target: Target,
  settings: TableSettings,
) -> tuple[Plan, list[str]]:
  """Returns the rows of every split, and notes on their classes.

  Args:
    parts: the rows by file.
    names: of the input columns, which with the target decide equal rows.
    target: its meaning.
    settings: of the table.
  """
  used = [*names, *target.names]
  hashes = {file: row_hashes(part.table, used) for file, part in parts.items()}
  rule, train = settings.splits, parts["train"]
  labels = train.target if target.task == "classification" else None
  plan = make_plan(
    hashes["train"],
    labels,
    list(parts),
    hashes.__getitem__,
    **columns_of_splits(train.table, rule, settings.day_first),
    **rule.arguments(),
  )
  notes = list(plan.notes)
  if len(target.classes) == 1:
    notes.append(f"all examples have the class {target.classes[0]!r}")
  if labels is not None:
    found = {
      split: [target.classes[int(i)] for i in np.unique(labels[rows])]
      for split, rows in plan.of_train().items()
    }
    notes += compare_classes(found, strict=plan.keeps_classes)
  return plan, notes


def columns_of_splits(
  table: RawTable, rule: SplitSettings, day_first: bool = False
) -> dict[str, np.ndarray | None]:
  """Returns the arguments of `make_plan` that are columns of a table.

  Args:
    table: of train.
    rule: names the columns.
    day_first: see `table_file.table_file`.
  """
  return {
    "groups": _names(table, rule.group),
    "times": _times(table, rule.time, day_first),
    "assigned": _names(table, rule.split),
  }


def _names(table: RawTable, column: str) -> np.ndarray | None:
  """Returns the cells of a column as names, `""` where one is missing."""
  if not column:
    return None
  positions, names = to_names(table.columns[column])
  return np.asarray([*names, ""], object)[positions]


def _times(table: RawTable, name: str, day_first: bool) -> np.ndarray | None:
  """Returns the column of times as numbers, NaN where one is missing."""
  if not name:
    return None
  column = table.columns[name]
  found = infer(column, table.decimal, day_first)
  if found.kind not in ("number", "date"):
    raise UserError(
      f"expected numbers or dates in the column time={name!r}",
      f"got texts such as {', '.join(map(repr, column.texts[:3]))}",
    )
  return to_numbers(column, found)

"""The division of the rows of a table into splits."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlcore.data.array_schema import ArraySchema
from dlcore.data.split import make_splits
from dlcore.data.tables.column_types import infer, to_names, to_numbers
from dlcore.data.tables.raw_columns import RawTable
from dlcore.data.tables.row_selection import Part, row_hashes
from dlcore.data.tables.table_settings import TableSettings
from dlcore.data.tables.target_column import Target, to_array
from dlcore.errors import UserError


def divide(
  parts: Mapping[str, Part],
  names: Sequence[str],
  target: Target,
  settings: TableSettings,
) -> tuple[dict[str, np.ndarray], list[str]]:
  """Returns the rows of train and of each split held out of it, and notes.

  `make_splits` receives the numbers of the rows in place of the features.
  """
  train = parts["train"]
  table = train.table
  numbers = {
    split: {
      "row": np.arange(len(part.target), dtype=np.int32)[:, None],
      target.array: to_array(part.target, target),
    }
    for split, part in parts.items()
  }
  options: dict[str, Any] = {
    "groups": _names(table, settings.group),
    "times": _times(table, settings),
    "assigned": _names(table, settings.split),
    "folds": settings.folds or None,
    "fold": settings.fold or None,
    "stratify": None if settings.stratify else False,
  }
  splits = make_splits(
    numbers,
    ArraySchema(input="row", target=target.array, classes=target.classes),
    name="table_file",
    hashes=row_hashes(table, [*names, *target.names]),
    valid_fraction=settings.valid_fraction,
    test_fraction=settings.test_fraction,
    **{name: value for name, value in options.items() if value is not None},
  )
  rows = {
    split: source.arrays["row"][:, 0]
    for split, source in splits._asdict().items()
    if source and (split == "train" or split not in parts)
  }
  return rows, list(splits.train.info.notes)


def _names(table: RawTable, column: str) -> np.ndarray | None:
  """Returns the cells of a column as names, `""` where one is missing."""
  if not column:
    return None
  positions, names = to_names(table.columns[column])
  return np.asarray([*names, ""], object)[positions]


def _times(table: RawTable, settings: TableSettings) -> np.ndarray | None:
  """Returns the column of times as numbers, NaN where one is missing."""
  if not settings.time:
    return None
  column = table.columns[settings.time]
  found = infer(column, table.decimal, settings.day_first)
  if found.kind not in ("number", "date"):
    raise UserError(
      f"expected numbers or dates in the column time={settings.time!r}",
      f"got texts such as {', '.join(map(repr, column.texts[:3]))}",
    )
  return to_numbers(column, found)

"""The columns of a CSV file of numbers and categories, and their schema."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dlcore.data import bad_examples
from dlcore.data.split_checks import compare_classes
from dlcore.data.split_settings import SplitSettings
from dlcore.data.tables import encoding
from dlcore.data.tables.csv_text import Row, Table, check_columns, read_rows
from dlcore.data.tables.table_schema import Column, TableSchema
from dlcore.errors import UserError, nearest


def input_columns(
  table: Table,
  target: str,
  columns: Sequence[str],
  categorical: Sequence[str],
  rule: SplitSettings,
) -> list[str]:
  """Returns the names of the input columns."""
  if not target:
    raise UserError(
      "expected target to name the column to predict",
      "got nothing",
      nearest("", table.header),
    )
  check_columns(table, [target, *columns, *categorical])
  others = {target, rule.group, rule.time, rule.split}
  names = list(columns) or [name for name in table.header if name not in others]
  if not names or target in names or set(categorical) - set(names):
    raise UserError(
      "expected columns without the target, and categorical among them",
      f"got {target=}, columns={tuple(names)}, {categorical=}",
    )
  return names


class Split(NamedTuple):
  """The selected columns of a file."""

  table: Table

  names: list[str]
  """The input columns and the target."""

  def rows(self) -> Iterator[Row]:
    """Returns an iterator over the rows."""
    return read_rows(self.table, self.names)


def describe(
  files: Mapping[str, Split], categorical: Sequence[str], task: str
) -> tuple[TableSchema, list[str]]:
  """Returns the schema without statistics, and notes for the user.

  Args:
    files: of every split.
    categorical: see `table_csv`.
    task: likewise.
  """
  train = files["train"]
  *names, target = train.names
  chosen = set(categorical)
  positions = [i for i, name in enumerate(names) if name in chosen]
  *distinct, targets = encoding.distinct_values(train.rows(), [*positions, -1])
  known, notes = {}, []
  for position, cells in zip(positions, distinct, strict=True):
    name = names[position]
    known[name], equal = _categories(name, cells)
    notes += equal
  columns = tuple(Column(name, known.get(name)) for name in names)
  features = tuple(name for column in columns for name in column.features)
  schema = TableSchema(columns=features, encoding=columns, target="target")
  if task == "regression" or (
    task == "auto" and not encoding.are_classes(encoding.categories(targets))
  ):
    return schema, notes
  classes, equal = _categories(target, targets)
  replace = encoding.same_category(classes)
  others = {
    name: replace(*encoding.distinct_values(file.rows(), [-1]))
    for name, file in files.items()
    if name != "train"
  }
  missing = compare_classes({"train": classes, **others})
  schema = dataclasses.replace(schema, target="label", classes=classes)
  return schema, [*notes, *equal, *missing]


def _categories(
  column: str, distinct: set[str]
) -> tuple[tuple[str, ...], list[str]]:
  """Returns the categories of a column, and a note on cells of equal value."""
  names = encoding.categories(distinct)
  encoding.check_categories(column, len(names))
  groups = encoding.equal_values(distinct)
  if not groups:
    return names, []
  listed = bad_examples.shorten(
    (" and ".join(map(repr, group)) for group in groups), "; "
  )
  apart = (
    "are different, as others are text"
    if len(names) == len(distinct)
    else "count as one"
  )
  return names, [f"equal numbers in {column!r} {apart}: {listed}"]


def with_offsets(schema: TableSchema, values: np.ndarray) -> TableSchema:
  """Returns `schema` with the offsets that the training rows need."""
  offsets = []
  for column, width in enumerate(schema.widths):
    numeric = width is None
    offset = encoding.offset(values[:, column]) if numeric else 0.0
    offsets += [offset] * (width or 1)
  target = 0.0 if schema.classes else encoding.offset(values[:, -1])
  return dataclasses.replace(
    schema,
    offsets=tuple(offsets) if any(offsets) else None,
    target_offset=target or None,
  )

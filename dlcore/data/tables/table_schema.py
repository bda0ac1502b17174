"""The schema of tables, and reading of CSV files for prediction."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from dlcore.data import bad_examples, json_fields
from dlcore.data.info import (
  DataInfo,
  Inputs,
  ReadBatch,
  Schema,
)
from dlcore.data.tables.csv_text import Row, open_table, read_rows
from dlcore.data.tables.encoding import (
  Encoder,
  category_encoder,
  encode,
  number_encoder,
  to_features,
)
from dlcore.data.tables.plan_json import plan_from_json, plan_to_json
from dlcore.data.tables.table_plan import ColumnPlan
from dlcore.data.tables.table_reading import (
  column_cells,
  read_frame,
  read_planned,
)
from dlcore.errors import UserError


class Column(NamedTuple):
  """A column of a file and its encoding."""

  name: str

  categories: tuple[str, ...] | None = None
  """Values that become one feature each (one-hot); None for a number."""

  @property
  def features(self) -> tuple[str, ...]:
    """Names of the features that the column becomes."""
    if self.categories is None:
      return (self.name,)
    return tuple(f"{self.name}={category}" for category in self.categories)

  @property
  def encoder(self) -> Encoder:
    """Function from a cell to a number or the position of its category."""
    if self.categories is None:
      return number_encoder
    return category_encoder(self.categories)


def _columns(value: Any) -> tuple[Column, ...]:
  """Returns the columns that `TableSchema.to_json` wrote."""
  return tuple(
    Column(
      json_fields.text(entry["column"]),
      None
      if entry["categories"] is None
      else json_fields.names(entry["categories"]),
    )
    for entry in value
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableSchema(Schema):
  """Schema of a table: features float32 `[N, F]`, a class or a number."""

  kind: ClassVar[str] = "tables"

  parsers: ClassVar[Mapping[str, Any]] = {
    **Schema.parsers,
    "columns": json_fields.names,
    "encoding": _columns,
    "offsets": json_fields.numbers,
    "plan": plan_from_json,
  }

  input: str = "features"

  columns: tuple[str, ...] = ()
  """Names of the F features."""

  encoding: tuple[Column, ...] = ()
  """Columns of the file; empty if each feature is a column of numbers."""

  offsets: tuple[float, ...] | None = None
  """Number that is subtracted from each of the F features in float64, before
  it is rounded to float32. `normalization` is that of the differences."""

  plan: tuple[ColumnPlan, ...] = ()
  """Encoding of typed columns, in place of `encoding` and `offsets`."""

  @property
  def file_columns(self) -> tuple[Column, ...]:
    """The columns of a file that are read."""
    return self.encoding or tuple(map(Column, self.columns))

  @property
  def widths(self) -> tuple[int | None, ...]:
    """Number of categories of each of these columns, None for a number."""
    every = [column.categories for column in self.file_columns]
    return tuple(None if names is None else len(names) for names in every)

  def describe_offsets(self, target: str) -> list[str]:
    """Returns a note on the offsets; `target` is the name of its column."""
    offsets = dict(zip(self.columns, self.offsets or (), strict=False))
    offsets[target] = self.target_offset or 0.0
    listed = bad_examples.shorten(
      f"{value!r} from {name!r}" for name, value in offsets.items() if value
    )
    if not listed:
      return []
    return [f"subtracted before the rounding to float32: {listed}"]

  def read(
    self, paths: Sequence[Path], info: DataInfo, rows: int
  ) -> Iterator[ReadBatch]:
    """Reads tables with the columns of the training data.

    Other columns, such as the target, are ignored.
    """
    for path in paths:
      try:
        if self.plan:
          yield from read_planned(path, self.plan, self.input, rows)
          continue
        rows_of_file = _open_rows(path, self)
        while piece := list(itertools.islice(rows_of_file, rows)):
          features, names, errors = _encode(piece, path, self)
          arrays = {self.input: features} if names else None
          yield ReadBatch(names, arrays, errors)
      except UserError as error:
        yield ReadBatch([], None, [(str(path), "; ".join(error.lines))])

  def read_frame(self, frame: Any, rows: int) -> Iterator[ReadBatch]:
    """Reads a data frame or a dict of columns, as `read` does a file.

    Args:
      frame: an object with `columns` and `[name]`, such as a DataFrame of
        pandas, or a mapping from names to sequences.
      rows: largest number of examples in a batch.

    Raises:
      UserError: a column is missing, or the columns differ in length.
    """
    if self.plan:
      yield from read_frame(frame, self.plan, self.input, rows)
      return
    columns = column_cells(frame, [part.name for part in self.file_columns])
    cells = zip(*columns.values(), strict=True)
    every = (Row(i, list(row), "") for i, row in enumerate(cells))
    while piece := list(itertools.islice(every, rows)):
      features, names, errors = _encode(piece, "row", self)
      yield ReadBatch(names, {self.input: features} if names else None, errors)

  def position(self, name: str, index: Sequence[int]) -> str:
    """Returns the name of the column for a message."""
    if name == self.input and len(index) == 1 and self.columns:
      return f", column {self.columns[index[0]]!r}"
    return super().position(name, index)

  def validate(self, inputs: Inputs) -> None:
    """Checks that the columns make the features of the model."""
    super().validate(inputs)
    shape, dtype = inputs.get(self.input, ((), ""))
    if len(shape) != 1 or not dtype.startswith("float"):
      raise ValueError(
        f"inputs={self.input}: {dtype}{list(shape)}, not a table"
      )
    if len(self.columns) != shape[0]:
      raise ValueError(f"columns={len(self.columns)} of {shape[0]} features")
    width = sum(len(column.features) for column in self.encoding)
    if self.encoding and width != shape[0]:
      raise ValueError(f"encoding={width} of {shape[0]} features")
    planned = sum(len(part.features) for part in self.plan)
    if self.plan and planned != shape[0]:
      raise ValueError(f"plan={planned} of {shape[0]} features")
    if self.offsets is not None and len(self.offsets) != shape[0]:
      raise ValueError(f"offsets={len(self.offsets)} of {shape[0]} features")

  def to_json(self) -> dict[str, Any]:
    """Returns the fields as JSON data."""
    entries = [
      {
        "column": column.name,
        "categories": None
        if column.categories is None
        else list(column.categories),
      }
      for column in self.encoding
    ]
    plan = plan_to_json(self.plan)
    return {**super().to_json(), "encoding": entries, "plan": plan}


def read_table(
  path: Path | str, schema: TableSchema
) -> tuple[np.ndarray, list[str], list[tuple[str, str]]]:
  """Reads the features of a table.

  Args:
    path: a CSV file.
    schema: of the training data; columns that it does not name are ignored.

  Returns:
    float32 `[N, F]` of the readable rows in order, the name of each of them,
    `"file.csv:2"`, and the other rows as pairs (name, reason).

  Raises:
    UserError: there is no such table, or a column is missing.
  """
  return _encode(_open_rows(Path(path), schema), path, schema)


def _open_rows(path: Path, schema: TableSchema) -> Iterator[Row]:
  """Yields the cells of the columns that `schema` reads."""
  names = [column.name for column in schema.file_columns]
  return read_rows(open_table(path), names)


def _encode(
  rows: Iterable[Row], path: Path | str, schema: TableSchema
) -> tuple[np.ndarray, list[str], list[tuple[str, str]]]:
  columns = schema.file_columns
  values, lines, errors = encode(
    rows,
    [column.name for column in columns],
    [column.encoder for column in columns],
  )
  return (
    to_features(values, schema.widths, schema.offsets),
    [f"{path}:{line}" for line in lines],
    [(f"{path}:{line}", reason) for line, reason in errors],
  )

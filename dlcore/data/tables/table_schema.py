"""The schema of tables, and reading of CSV files for prediction."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from dlcore.data import json_fields
from dlcore.data.info import DataInfo, Inputs, ReadBatch, Schema
from dlcore.data.tables.csv_text import read_file, read_rows
from dlcore.data.tables.encoding import encode, encoder
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
  }

  input: str = "features"

  columns: tuple[str, ...] = ()
  """Names of the F features."""

  encoding: tuple[Column, ...] = ()
  """Columns of the file; empty if each feature is a column of numbers."""

  def read(
    self, paths: Sequence[Path], info: DataInfo, rows: int
  ) -> Iterator[ReadBatch]:
    """Reads CSV files with the columns of the training data.

    Other columns, such as the target, are ignored.
    """
    for path in paths:
      try:
        features, names, errors = read_table(path, self)
      except UserError as error:
        yield ReadBatch([], None, [(str(path), "; ".join(error.lines))])
        continue
      if errors:
        yield ReadBatch([], None, errors)
      for start in range(0, len(names), rows):
        part = slice(start, start + rows)
        yield ReadBatch(names[part], {self.input: features[part]}, [])

  def position(self, name: str, place: Sequence[int]) -> str:
    """Returns the name of the column for a message."""
    if name == self.input and len(place) == 1 and self.columns:
      return f", column {self.columns[place[0]]!r}"
    return super().position(name, place)

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
    return {**super().to_json(), "encoding": entries}


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
  file = read_file(Path(path))
  columns = schema.encoding or tuple(map(Column, schema.columns))
  rows = read_rows(file, [column.name for column in columns])
  values, readable, errors = encode(
    rows, [encoder(column.categories) for column in columns]
  )
  # Without a readable row the width of `values` is not that of the features.
  features = values.astype(np.float32).reshape(-1, len(schema.columns))
  return features, [row.where for row in readable], errors

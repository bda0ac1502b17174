"""Tables of the names and labels of images, as text."""

import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from dlcore.data.tables import csv_text, text_lines
from dlcore.errors import UserError, nearest
from dlcore.filesystem import parse_json

Cell = str | tuple[str, ...]
"""Text, or the items of a JSON list."""


class LabelRow(NamedTuple):
  """One row of a table."""

  line: int
  cells: dict[str, Cell]
  error: str
  """Reason why the row is malformed, or `""`."""


class LabelTable(NamedTuple):
  """A table of labels."""

  path: pathlib.Path
  columns: list[str]
  rows: list[LabelRow]

  def column(self, name: str) -> list[Cell]:
    """Returns the cells of a column, `""` where it is missing."""
    return [row.cells.get(name, "") for row in self.rows]

  def check(self, names: Sequence[str]) -> None:
    """Checks that names are columns.

    Raises:
      UserError: one is not; names the nearest column.
    """
    for name in names:
      if name not in self.columns:
        raise UserError(
          f"expected a column {name!r} in {self.path}",
          f"got the columns {list_names(self.columns)}",
          nearest(name, self.columns),
        )


def list_names(names: Sequence[str]) -> str:
  """Returns names separated by commas, shortened."""
  text = ", ".join(names)
  return text if len(text) <= 400 else f"{text[:400]} ..."


def read_table(path: pathlib.Path) -> LabelTable:
  """Reads a CSV or JSONL file, also one with the suffix .gz.

  Raises:
    UserError: it is unreadable, not such a file, or without rows.
  """
  kind = path.name.lower().removesuffix(".gz")
  is_json = kind.endswith((".jsonl", ".ndjson"))
  rows = list(_json_rows(path) if is_json else _csv_rows(path))
  columns = dict.fromkeys(name for row in rows for name in row.cells)
  if not columns:
    raise UserError(f"expected rows in {path}", "got none")
  return LabelTable(path, list(columns), rows)


def _csv_rows(path: pathlib.Path) -> Iterator[LabelRow]:
  table = csv_text.open_table(path)
  names = list(table.header)
  for line, cells, error in csv_text.read_rows(table, names):
    yield LabelRow(line, dict(zip(names, cells, strict=True)), error)


def _json_rows(path: pathlib.Path) -> Iterator[LabelRow]:
  lines = text_lines.read_lines(path, csv_text.MAX_ROW)
  for number, line in enumerate(lines, 1):
    if line.strip():
      yield _json_row(number, line)


def _json_row(number: int, line: str) -> LabelRow:
  try:
    values = parse_json(line.encode())
  except ValueError as error:
    return LabelRow(number, {}, f"not a JSON object: {error}"[:200])
  return LabelRow(
    number, {name: _cell(value) for name, value in values.items()}, ""
  )


def _cell(value: Any) -> Cell:
  """Returns a JSON value as text; None is an empty cell."""
  if isinstance(value, list):
    return tuple(str(_cell(item)) for item in value)
  if value is None:
    return ""
  if isinstance(value, bool):
    return str(int(value))
  return value.strip() if isinstance(value, str) else json.dumps(value)

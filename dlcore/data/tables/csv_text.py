"""Parsing of CSV files into rows of text."""

import csv
import io
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from dlcore.errors import UserError, nearest


class File(NamedTuple):
  """A table as text."""

  path: pathlib.Path
  header: list[str]
  lines: list[tuple[int, list[str]]]
  """Line number in the file, from 1, and fields of each row."""


class Row(NamedTuple):
  """The selected cells of one row."""

  where: str
  """File and line, `"file.csv:2"`."""

  names: Sequence[str]
  """Names of the columns."""

  cells: list[str]

  error: str
  """Reason why the row as a whole is malformed, or `""`."""


def read_file(path: pathlib.Path) -> File:
  """Parses a CSV file whose first line names the columns.

  Raises:
    UserError: the file is missing, unreadable, empty or not UTF-8 text, or its
      first line does not name every column.
  """
  if not path.is_file():
    raise UserError("expected a CSV file", f"got no file at {str(path)!r}")
  try:
    text = path.read_text("utf-8-sig")
  except OSError as error:
    raise UserError(
      f"expected a readable file at {path}", f"got: {error.strerror or error}"
    ) from error
  except UnicodeDecodeError as error:
    raise UserError(
      f"expected UTF-8 text in {path}", f"got {error}", "save it as UTF-8"
    ) from error
  # A quoted field may span several lines, so a row starts on the line after
  # the end of the previous row.
  lines, previous_end = [], 0
  reader = csv.reader(
    io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True
  )
  try:
    for fields in reader:
      if any(map(str.strip, fields)):
        lines.append((previous_end + 1, [field.strip() for field in fields]))
      previous_end = reader.line_num
  except csv.Error as error:
    raise UserError(
      f"expected a table in {path}", f"got line {reader.line_num}: {error}"
    ) from error
  if len(lines) < 2:
    raise UserError(
      f"expected a line of column names and rows below it in {path}",
      "got no rows" if lines else "got an empty file",
    )
  (_, header), *lines = lines
  repeated = sorted({name for name in header if header.count(name) > 1})
  if repeated or "" in header or None not in map(number, header):
    raise UserError(
      f"expected a name for every column in the first line of {path}",
      f"got {repeated[0]!r} twice" if repeated else f"got {', '.join(header)}",
      "name each column once",
    )
  return File(path, header, lines)


def _delimiter(text: str) -> str:
  """Returns the separator that occurs most often in the first line."""
  first = next(iter(text.split("\n")), "")
  return max(",;\t", key=first.count)


def column_positions(file: File, names: Sequence[str]) -> list[int]:
  """Returns the positions of columns in the file.

  Raises:
    UserError: a name is not a column of the file.
  """
  for name in names:
    if name not in file.header:
      raise UserError(
        f"expected a column {name!r} in {file.path}",
        f"got the columns {', '.join(file.header)}",
        nearest(str(name), file.header),
      )
  return [file.header.index(name) for name in names]


def read_rows(file: File, names: Sequence[str]) -> list[Row]:
  """Returns the cells of the named columns for every row."""
  positions, count = column_positions(file, names), len(file.header)
  rows = []
  for line, fields in file.lines:
    ragged = len(fields) != count
    rows.append(
      Row(
        where=f"{file.path}:{line}",
        names=names,
        cells=[""] * len(positions)
        if ragged
        else [fields[i] for i in positions],
        error=f"{len(fields)} fields in place of {count}" if ragged else "",
      )
    )
  return rows


def number(cell: str) -> float | None:
  """Returns the number in a cell, which may be NaN, or None without one."""
  try:
    return None if "_" in cell else float(cell)
  except ValueError:
    return None

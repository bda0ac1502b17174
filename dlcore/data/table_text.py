"""Tables as text: the lines and fields of CSV files."""

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
  """The number of each line, as an editor counts, and its fields."""


class Row(NamedTuple):
  """The wanted fields of one row, as text."""

  where: str
  names: Sequence[str]
  """Of the columns."""

  cells: list[str]
  bad: str
  """What is wrong with the row as a whole, if anything."""


def read_file(path: pathlib.Path) -> File:
  """Reads a table as text.

  Raises:
    UserError: there is no such file, it is not UTF-8 text, it is empty, or its
      first line does not name the columns.
  """
  if not path.is_file():
    raise UserError("expected a CSV file", f"got no file at {str(path)!r}")
  try:
    text = path.read_text("utf-8-sig")
  except UnicodeDecodeError as error:
    raise UserError(
      f"expected UTF-8 text in {path}", f"got {error}", "save it as UTF-8"
    ) from error
  # A quoted field may hold several lines, so a row's line is that after the
  # end of the row before.
  lines, before = [], 0
  reader = csv.reader(
    io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True
  )
  try:
    for fields in reader:
      if any(map(str.strip, fields)):
        lines.append((before + 1, [field.strip() for field in fields]))
      before = reader.line_num
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
  doubled = sorted({name for name in header if header.count(name) > 1})
  if doubled or "" in header or None not in map(number, header):
    raise UserError(
      f"expected a name for every column in the first line of {path}",
      f"got {doubled[0]!r} twice" if doubled else f"got {', '.join(header)}",
      "name each column once",
    )
  return File(path, header, lines)


def _delimiter(text: str) -> str:
  """Returns the separator that makes the most fields of the first line."""
  first = next(iter(text.split("\n")), "")
  return max(",;\t", key=first.count)


def places(file: File, names: Sequence[str]) -> list[int]:
  """Returns the positions of columns; an unknown name is an error."""
  for name in names:
    if name not in file.header:
      raise UserError(
        f"expected a column {name!r} in {file.path}",
        f"got the columns {', '.join(file.header)}",
        nearest(str(name), file.header),
      )
  return [file.header.index(name) for name in names]


def read_rows(file: File, names: Sequence[str]) -> list[Row]:
  """Returns the cells of the named columns, row by row."""
  where, count = places(file, names), len(file.header)
  rows = []
  for line, fields in file.lines:
    ragged = len(fields) != count
    rows.append(
      Row(
        where=f"{file.path}:{line}",
        names=names,
        cells=[""] * len(where) if ragged else [fields[i] for i in where],
        bad=f"{len(fields)} fields in place of {count}" if ragged else "",
      )
    )
  return rows


def number(cell: str) -> float | None:
  """Returns a number, also NaN, or None where the text is none."""
  try:
    return None if "_" in cell else float(cell)
  except ValueError:
    return None

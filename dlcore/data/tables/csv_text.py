"""Parsing of CSV files into rows of text, within bounds."""

import collections
import csv
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dlcore.data.tables.text_lines import read_lines
from dlcore.errors import UserError, nearest

MAX_COLUMNS = 1 << 16
"""Columns of a file."""

MAX_ROW = 1 << 24
"""Characters of a row, its quoted line breaks included."""

DELIMITERS = ",;\t|"


class Table(NamedTuple):
  """A CSV file, whose rows are read when they are needed."""

  path: pathlib.Path

  header: dict[str, int]
  """Position of each column by its name."""

  delimiter: str


class Row(NamedTuple):
  """The selected cells of one row."""

  line: int
  """Number of its first line in the file, from 1."""

  cells: list[str]

  error: str
  """Reason why the row as a whole is malformed, or `""`."""


def open_table(path: pathlib.Path) -> Table:
  """Reads the first line of a CSV file, which names the columns.

  Raises:
    UserError: the file is missing, unreadable or not UTF-8 text, has no rows
      below the first line, or that line does not name every column or names
      more than 65,536.
  """
  if not os.path.isfile(path):
    raise UserError("expected a CSV file", f"got no file at {str(path)!r}")
  delimiter = find_delimiter(path)
  rows = parse_rows(path, delimiter)
  _, names = next(rows, (0, []))
  if len(names) > MAX_COLUMNS:
    raise UserError(
      f"expected at most {MAX_COLUMNS:,} columns in {path}",
      f"got {len(names):,}",
      "split the table, or store the numbers as arrays (.npz)",
    )
  if not names or next(rows, None) is None:
    raise UserError(
      f"expected a line of column names and rows below it in {path}",
      "got no rows" if names else "got an empty file",
    )
  counts = collections.Counter(names)
  repeated = sorted(name for name, count in counts.items() if count > 1)
  if repeated or "" in counts or None not in map(number, names):
    raise UserError(
      f"expected a name for every column in the first line of {path}",
      f"got {repeated[0]!r} twice"
      if repeated
      else f"got {_shorten(', '.join(names))}",
      "name each column once",
    )
  header = {name: position for position, name in enumerate(names)}
  return Table(path, header, delimiter)


def check_columns(table: Table, names: Sequence[str]) -> None:
  """Checks that names are columns of a table.

  Raises:
    UserError: one is not; names the nearest column.
  """
  for name in names:
    if name not in table.header:
      hint = nearest(str(name), table.header)
      raise UserError(
        f"expected a column {name!r} in {table.path}",
        f"got the columns {_shorten(', '.join(table.header))}",
        _shorten(hint),
      )


def read_rows(table: Table, names: Sequence[str]) -> Iterator[Row]:
  """Yields the cells of the named columns for every row.

  Raises:
    UserError: a name is not a column, or the file is not a CSV file.
  """
  check_columns(table, names)
  positions = [table.header[name] for name in names]
  count, rows = len(table.header), parse_rows(table.path, table.delimiter)
  next(rows, None)
  for line, fields in rows:
    if len(fields) == count:
      yield Row(line, [fields[position] for position in positions], "")
    else:
      error = f"{len(fields)} fields in place of {count}"
      yield Row(line, [""] * len(positions), error)


def number(cell: str) -> float | None:
  """Returns the number in a cell, which may be NaN, or None without one."""
  try:
    return None if "_" in cell else float(cell)
  except ValueError:
    return None


def find_delimiter(path: pathlib.Path) -> str:
  """Returns the one of `DELIMITERS` that is most frequent in the first line.

  Quoted names do not count.
  """
  for first in read_lines(path, MAX_ROW):
    return max(DELIMITERS, key=re.sub(r'"[^"]*"', "", first).count)
  return ","


def parse_rows(
  path: pathlib.Path, delimiter: str
) -> Iterator[tuple[int, list[str]]]:
  """Yields line number, from 1, and stripped fields of the rows.

  Blank lines are left out, as well as what precedes the names of the columns:
  rows of empty cells, and a line such as "sep=;", which Excel reads.
  """
  # A quoted field may span several lines, so a row starts on the line after
  # the end of the previous row.
  previous_end, length, has_begun = 0, 0, False

  def lines() -> Iterator[str]:
    nonlocal length
    for line in read_lines(path, MAX_ROW):
      length += len(line)
      if length > MAX_ROW:
        raise csv.Error(f"more than {MAX_ROW:,} characters in a row")
      yield line

  reader = csv.reader(lines(), delimiter=delimiter, strict=True)
  try:
    for fields in reader:
      fields = [field.strip() for field in fields]
      has_begun = has_begun or (any(fields) and fields != ["sep=", ""])
      if has_begun and fields not in ([], [""]):
        yield previous_end + 1, fields
      previous_end, length = reader.line_num, 0
  except csv.Error as error:
    raise UserError(
      f"expected a table in {path}",
      f"got line {previous_end + 1}: {error}",
      "close every quote, and write one inside of a quoted cell twice",
    ) from error


def _shorten(text: str) -> str:
  return text if len(text) <= 400 else f"{text[:400]} ..."

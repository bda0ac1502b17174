"""Reading of table files of every format as chunks of rows."""

import contextlib
import itertools
import json
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from dlcore.data.tables import csv_text
from dlcore.data.tables.arrow_files import ARROW_SUFFIXES, read_arrow
from dlcore.data.tables.raw_columns import (
  CHUNK_CELLS,
  MAX_COLUMNS,
  Chunk,
  RawTable,
  build_table,
)
from dlcore.data.tables.text_lines import read_lines
from dlcore.errors import UserError

JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")

OTHER_FORMATS = {
  ".xlsx": "an Excel workbook",
  ".xls": "an Excel workbook",
  ".ods": "a spreadsheet",
  ".sav": "a file of SPSS",
  ".dta": "a file of Stata",
  ".sas7bdat": "a file of SAS",
  ".rds": "a file of R",
  ".rda": "a file of R",
  ".rdata": "a file of R",
  ".pkl": "a pickle, which can run code",
  ".pickle": "a pickle, which can run code",
  ".npz": "arrays of NumPy",
  ".npy": "an array of NumPy",
  ".zip": "an archive",
  ".db": "a database",
  ".sqlite": "a database",
}
"""Formats by suffix that are not read."""

PEEKED_ROWS = 100
"""Rows that decide the meaning of a field beyond the names of the columns."""


def read_file(path: pathlib.Path) -> RawTable:
  """Reads a table: CSV, TSV, JSON lines (each also .gz), Parquet or Arrow.

  Raises:
    UserError: the file is missing, malformed or too large, or has no rows.
  """
  chunks, decimal, notes = open_chunks(path)
  table = build_table(path, chunks)
  if not len(table.lines):
    bad = "; ".join(f"line {line}: {why}" for line, why in table.errors[:3])
    raise UserError(
      f"expected rows of a table in {path}",
      f"got no readable row; {bad or 'the file is empty'}",
      "remove lines above the names of the columns, if there are any",
    )
  return table._replace(decimal=decimal, notes=tuple(notes))


def open_chunks(
  path: pathlib.Path, rows: int = CHUNK_CELLS, needed: Sequence[str] = ()
) -> tuple[Iterator[Chunk], str, list[str]]:
  """Opens a table file.

  Args:
    path: the file, or a folder of Arrow files of Hugging Face `datasets`.
    rows: largest number of rows in a chunk.
    needed: columns that every chunk has if a row of the file has them; in JSON
      lines a row may lack the names of missing cells.

  Returns:
    The chunks, the decimal mark to prefer, and notes on the file.

  Raises:
    UserError: the file is missing or has no line of column names.
  """
  folder = os.path.isdir(path)
  if not folder and not os.path.isfile(path):  # Opening a pipe would wait.
    raise UserError("expected a table file", f"got no file at {str(path)!r}")
  suffixes = [suffix.lower() for suffix in path.suffixes]
  if not folder and suffixes[-1:] and suffixes[-1] in OTHER_FORMATS:
    raise UserError(
      f"expected CSV, TSV, JSON lines, Parquet or Arrow in {path}",
      f"got {OTHER_FORMATS[suffixes[-1]]}, by the suffix {suffixes[-1]!r}",
      "save the table as CSV",
    )
  if folder or (suffixes[-1:] and suffixes[-1] in ARROW_SUFFIXES):
    return read_arrow(path, rows), ".", []
  if any(suffix in JSON_SUFFIXES for suffix in suffixes[-2:]):
    known = _names_in_json_lines(path, needed) if needed else ()
    return _read_json_lines(path, rows, known), ".", []
  return _read_csv(path, rows)


def _read_csv(
  path: pathlib.Path, size: int
) -> tuple[Iterator[Chunk], str, list[str]]:
  delimiter = csv_text.find_delimiter(path)
  rows = csv_text.parse_rows(path, delimiter)
  _, names = next(rows, (0, []))
  first = next(rows, None)
  if not names or first is None:
    raise UserError(
      f"expected a line of column names and rows below it in {path}",
      "got no rows" if names else "got an empty file",
    )
  if len(names) > MAX_COLUMNS:
    raise UserError(
      f"expected at most {MAX_COLUMNS:,} columns in {path}",
      f"got {len(names):,}",
      "split the table, or store the numbers as arrays (.npz)",
    )
  if all(csv_text.number(name) is not None for name in names):
    raise UserError(
      f"expected a name for every column in the first line of {path}",
      f"got the numbers {', '.join(names[:10])}",
      "add a first line with the names of the columns",
    )
  peeked = [first, *itertools.islice(rows, PEEKED_ROWS)]
  if len(first[1]) == len(names) + 1:
    # A delimiter at the end of every row, or names of rows as R writes them.
    at_end = not any(fields[-1] for _, fields in peeked)
    names = [*names, ""] if at_end else ["", *names]
  names, notes = _distinct_names(names)
  rows = itertools.chain(peeked, rows)
  decimal = "," if delimiter == ";" else "."
  return _chunks_of_rows(rows, names, size), decimal, notes


def _distinct_names(names: Sequence[str]) -> tuple[list[str], list[str]]:
  """Returns names as pandas makes them distinct, and a note on the changes."""
  distinct: dict[str, None] = {}
  changed = []
  for position, name in enumerate(names):
    new = name or f"Unnamed: {position}"
    for number in itertools.count(1):
      if new not in distinct:
        break
      new = f"{name}.{number}"
    if new != name and name:
      changed.append(f"{name!r} to {new!r}")
    distinct[new] = None
  listed = ", ".join(changed[:10])
  return list(distinct), [f"renamed repeated columns: {listed}"] * bool(changed)


def _chunks_of_rows(
  rows: Iterator[tuple[int, list[str]]], names: Sequence[str], size: int
) -> Iterator[Chunk]:
  size = max(1, min(size, CHUNK_CELLS // len(names)))
  while piece := list(itertools.islice(rows, size)):
    good = [(line, row) for line, row in piece if len(row) == len(names)]
    errors = [
      (line, f"{len(row)} fields in place of {len(names)}")
      for line, row in piece
      if len(row) != len(names)
    ]
    columns = zip(*(row for _, row in good), strict=True) if good else names
    cells_by_name = dict(zip(names, columns, strict=True)) if good else {}
    yield Chunk([line for line, _ in good], cells_by_name, errors)


def _names_in_json_lines(path: pathlib.Path, names: Sequence[str]) -> list[str]:
  """Returns those of `names` that some row has."""
  missing = set(names)
  for text in read_lines(path, csv_text.MAX_ROW):
    with contextlib.suppress(ValueError, RecursionError):
      missing -= _json_row(text).keys()
    if not missing:
      break
  return [name for name in names if name not in missing]


def _read_json_lines(
  path: pathlib.Path, size: int, names: Sequence[str]
) -> Iterator[Chunk]:
  """Yields the objects of a file with one JSON object in each line.

  Args:
    path: the file.
    size: largest number of rows in a chunk.
    names: columns of every chunk besides those that were in rows before.
  """
  lines = enumerate(read_lines(path, csv_text.MAX_ROW), start=1)
  known: dict[str, None] = dict.fromkeys(names)
  size = min(size, CHUNK_CELLS // 64)
  while piece := list(itertools.islice(lines, size)):
    rows, numbers, errors = [], [], []
    for line, text in piece:
      if line == 1 and re.match(r"\s*\[\s*(\{|$)", text):
        raise UserError(
          f"expected a JSON object in each line of {path}",
          f"got an array, which begins with {text.strip()[:40]!r}",
          "write JSON lines, such as by DataFrame.to_json(file, "
          'orient="records", lines=True)',
        )
      if not text.strip():
        continue
      try:
        rows.append(_json_row(text))
        numbers.append(line)
        known |= dict.fromkeys(rows[-1])
      except (ValueError, RecursionError) as error:
        errors.append((line, f"not a JSON object: {error}"))
    columns = {name: [row.get(name, "") for row in rows] for name in known}
    yield Chunk(numbers, columns, errors)


def _json_row(text: str) -> dict[str, str]:
  """Returns the cells of a JSON object, with nested objects as "a.b"."""
  if len(text) > csv_text.MAX_ROW:
    raise ValueError(f"more than {csv_text.MAX_ROW:,} characters in a line")
  value = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
  if not isinstance(value, dict):
    raise ValueError(f"got {text[:40]!r}")
  return dict(_flatten(value, ""))


def _flatten(value: dict[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
  for name, content in value.items():
    if isinstance(content, dict):
      yield from _flatten(content, f"{prefix}{name}.")
    else:
      yield f"{prefix}{name}", to_cell(content)


def to_cell(value: Any) -> str:
  """Returns a value as the text of a cell; lists become "a;b"."""
  if value is None:
    return ""
  if isinstance(value, bool):
    return "true" if value else "false"
  if isinstance(value, list | tuple):
    return ";".join(map(to_cell, value))
  return re.sub(r"\s+", " ", str(value)).strip()

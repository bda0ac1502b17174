"""Reading of texts: files of one text, and columns of tables."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dlcore.data.tables.raw_columns import RawTable, build_table
from dlcore.data.tables.table_formats import open_chunks
from dlcore.data.tables.text_lines import read_lines
from dlcore.errors import UserError, nearest

TEXT_SUFFIXES = (".txt", ".md")
"""Suffixes of files of one text, before ".gz"."""

MAX_TEXT = 1 << 24
"""Characters of a text."""

MAX_CHARACTERS = 1 << 31
"""Characters of all texts of a table."""

Example = tuple[str, Sequence[str]]
"""The name of an example, and its texts."""

Piece = tuple[list[Example], list[tuple[str, str]]]
"""Consecutive examples, and `(name, reason)` of the unreadable ones."""


def is_text_file(path: Path) -> bool:
  """Returns whether a file is one text, by its name."""
  return path.name.lower().removesuffix(".gz").endswith(TEXT_SUFFIXES)


def read_text(path: Path) -> str:
  """Returns the content of a text file.

  Raises:
    UserError: it is missing, unreadable, not UTF-8, or longer than `MAX_TEXT`.
  """
  if not os.path.isfile(path):  # Opening a pipe would wait.
    raise UserError("expected a text file", f"got no file at {str(path)!r}")
  pieces, size = [], 0
  for line in read_lines(path, MAX_TEXT):
    pieces.append(line)
    size += len(line)
    if size > MAX_TEXT:
      raise UserError(
        f"expected at most {MAX_TEXT:,} characters in {path}",
        "got more",
        "split the file, or use a table with a text in each row",
      )
  return "".join(pieces)


def read_examples(
  path: Path, columns: Sequence[str], rows: int
) -> Iterator[Piece]:
  """Yields the examples of a file.

  Args:
    path: a file of one text, or a table.
    columns: of the texts in a table.
    rows: largest number of examples at a time.

  Raises:
    UserError: the file is missing or malformed, or lacks a column.
  """
  if is_text_file(path):
    yield [(str(path), [read_text(path)])], []
    return
  chunks, _, _ = open_chunks(path, rows, columns)
  for chunk in chunks:
    errors = [(f"{path}:{line}", reason) for line, reason in chunk.errors]
    if not len(chunk.lines):
      yield [], errors
      continue
    check_known(path, columns, chunk.cells)
    cells = zip(*(chunk.cells[name] for name in columns), strict=True)
    names = (f"{path}:{line}" for line in chunk.lines)
    yield list(zip(names, cells, strict=True)), errors


def read_text_table(
  path: Path, texts: Sequence[str], others: Sequence[str]
) -> tuple[RawTable, dict[str, list[str]]]:
  """Reads a table with columns of texts, whose cells are kept as they are.

  Args:
    path: CSV, TSV, JSON lines (each also .gz), Parquet or Arrow.
    texts: names of the columns of texts.
    others: those of the columns of the table that is returned.

  Returns:
    A table of the other columns, and the cells of each column of texts.

  Raises:
    UserError: the file is missing, malformed or too large, has no rows, or
      lacks a column.
  """
  chunks, decimal, notes = open_chunks(path)
  columns: dict[str, list[str]] = {name: [] for name in texts}
  known: dict[str, None] = {}
  size = 0

  def other_columns():
    nonlocal known, size
    for chunk in chunks:
      known |= dict.fromkeys(chunk.cells)
      for name, cells in columns.items():
        new = list(chunk.cells.get(name) or [""] * len(chunk.lines))
        cells += new
        size += sum(map(len, new))
      if size > MAX_CHARACTERS:
        raise UserError(
          f"expected at most {MAX_CHARACTERS:,} characters of text in {path}",
          "got more",
          "split the file",
        )
      kept = {k: v for k, v in chunk.cells.items() if k in others}
      yield chunk._replace(cells=kept)

  table = build_table(path, other_columns())
  if not len(table.lines):
    bad = "; ".join(f"line {line}: {why}" for line, why in table.errors[:3])
    raise UserError(
      f"expected rows of a table in {path}",
      f"got no readable row; {bad or 'the file is empty'}",
    )
  check_known(path, [*texts, *others], known)
  return table._replace(decimal=decimal, notes=tuple(notes)), columns


def check_known(
  path: object, names: Sequence[str], known: Iterable[str]
) -> None:
  """Checks that names are columns of a file.

  Raises:
    UserError: one is not; names the nearest column.
  """
  listed = list(known)
  for name in names:
    if name not in listed:
      raise UserError(
        f"expected a column {name!r} in {path}",
        f"got the columns {', '.join(listed)}"[:400],
        nearest(name, listed)[:400],
      )

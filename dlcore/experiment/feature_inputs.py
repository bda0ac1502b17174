"""The examples whose features are computed, with their labels."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dlcore.data.split_columns import SPLIT_NAMES
from dlcore.data.tables.arrow_files import ARROW_SUFFIXES
from dlcore.data.tables.table_formats import JSON_SUFFIXES, open_chunks
from dlcore.data.text.text_encoding import clean_text
from dlcore.data.text.text_files import check_known, is_text_file, read_text
from dlcore.errors import UserError
from dlcore.experiment.prediction_inputs import list_files

TABLES = (".csv", ".tsv", *JSON_SUFFIXES, *ARROW_SUFFIXES)
"""Suffixes of tables, before ".gz"."""

CHUNK = 4096


class Example(NamedTuple):
  """An example before it is read by the schema."""

  name: str
  """The path of its file, or `"table.csv:2"`."""

  content: Path | str
  """The path of an image, or a text; of a pair both with a tab in between."""

  label: str | None


class Examples(NamedTuple):
  """The examples of all inputs."""

  items: list[Example]
  errors: list[tuple[str, str]]
  """`(name, reason)` of the texts and rows that cannot be read."""


def read_examples(
  paths: Sequence[str],
  *,
  texts: bool,
  column: str = "",
  columns: Sequence[str] = (),
  label: str = "",
) -> Examples:
  """Lists images, or reads texts.

  Args:
    paths: files, folders and tables. The label of a file in a folder is the
      first folder inside of it, or the second one below `train`, `valid` and
      `test`.
    texts: whether examples are texts, else images.
    column: of the texts in tables, or of the paths of images, relative to the
      table.
    columns: those of the texts in tables if `column` is "".
    label: the column of the labels in tables; "" for none.

  Raises:
    UserError: a path does not exist, a folder is empty, or a column is missing.
  """
  result, tables = Examples([], []), 0
  for path in map(Path, paths):
    files = list_files([path])
    for file, own in zip(files, _folder_labels(path, files), strict=True):
      if is_table(file) and (texts or column):
        names = [column] if column else columns
        tables += 1
        _read_table(file, result, texts, names, label)
      else:
        _read_file(file, result, texts, own)
  for name, value in (("column", column), ("label", label)):
    if value and not tables:
      raise UserError(
        f"expected a table with the column {name}={value!r}: CSV, TSV, JSON "
        "lines, Parquet or Arrow",
        f"got {', '.join(map(str, paths))}"[:200],
        f"pass a table, or omit {name}; the label of a file is its folder",
      )
  return result


def is_table(path: Path) -> bool:
  """Returns whether the name of a file is that of a table."""
  return path.name.lower().removesuffix(".gz").endswith(TABLES)


def _folder_labels(path: Path, files: Sequence[Path]) -> list[str | None]:
  """Returns the folder of each file that is its class, None without one."""
  if not os.path.isdir(path):
    return [None] * len(files)
  parents = [file.relative_to(path).parts[:-1] for file in files]
  firsts = {parts[0].lower() for parts in parents if parts}
  depth = 1 if firsts and firsts <= SPLIT_NAMES.keys() else 0
  return [parts[depth] if len(parts) > depth else None for parts in parents]


def _read_file(
  file: Path, result: Examples, texts: bool, label: str | None
) -> None:
  """Adds an image file, or the text in a file."""
  if not texts:
    result.items.append(Example(str(file), file, label))
    return
  try:
    if not is_text_file(file):
      raise UserError("expected a .txt or .md file, or a table of texts")
    text = read_text(file)
  except UserError as error:
    result.errors.append((str(file), "; ".join(error.lines)))
    return
  _add(result, str(file), text, label)


def _read_table(
  file: Path,
  result: Examples,
  texts: bool,
  columns: Sequence[str],
  label: str,
) -> None:
  """Adds the rows of a table.

  Raises:
    UserError: it is malformed, or lacks a column.
  """
  needed = [*columns, *([label] if label else [])]
  chunks, _, _ = open_chunks(file, CHUNK, needed)
  for chunk in chunks:
    result.errors.extend((f"{file}:{line}", why) for line, why in chunk.errors)
    if not len(chunk.lines):
      continue
    check_known(file, needed, chunk.cells)
    labels = chunk.cells[label] if label else [""] * len(chunk.lines)
    cells = zip(*(chunk.cells[name] for name in columns), strict=True)
    for line, parts, own in zip(chunk.lines, cells, labels, strict=True):
      name = f"{file}:{line}"
      if texts:
        _add(result, name, "\t".join(map(clean_text, parts)), own or None)
      else:
        image = file.parent / parts[0]
        result.items.append(Example(name, image, own or None))


def _add(result: Examples, name: str, text: str, label: str | None) -> None:
  """Adds a text, or an error if it is empty."""
  if text.strip():
    result.items.append(Example(name, text, label))
  else:
    result.errors.append((name, "an empty text"))

"""Files of running text: documents, paragraphs, repeated paragraphs."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from dlcore.data.tables.text_lines import read_lines
from dlcore.errors import UserError, nearest
from dlcore.filesystem.hidden import is_hidden

JSON_SUFFIXES = (".jsonl", ".ndjson")

SUFFIXES = (".txt", ".md", ".rst", *JSON_SUFFIXES)
"""Files of a folder that are read, before ".gz"."""

MAX_CHARACTERS = 1 << 31
"""Characters of all texts of a file."""

MAX_LINE = 1 << 28
"""Characters of a JSON line."""

PIECE = 1 << 20
"""Characters of a line of plain text that are read at a time."""


def list_corpus_files(path: Path) -> list[Path]:
  """Returns a file, or the text files of a folder, sorted by their paths.

  Raises:
    UserError: there is none.
  """
  if not os.path.isdir(path):
    return [path]
  files = [
    file
    for file in sorted(path.rglob("*"))
    if _suffix(file) in SUFFIXES and os.path.isfile(file)
    if not any(map(is_hidden, file.relative_to(path).parts))
  ]
  if not files:
    raise UserError(
      f"expected files {', '.join(SUFFIXES)} in {path}, each also .gz",
      "got none",
    )
  return files


def read_documents(path: Path, column: str) -> list[str]:
  """Returns the text of a file, or the texts of JSON lines, one for each.

  Args:
    path: the file; one whose name ends in ".gz" is decompressed. It is UTF-8,
      and line breaks become newlines.
    column: the key of the text in JSON lines.

  Raises:
    UserError: it is missing, unreadable, too large or not UTF-8, a line is not
      a JSON object with the column, or there is no text.
  """
  if not os.path.isfile(path):  # Opening a pipe would wait.
    raise UserError("expected a text file", f"got no file at {str(path)!r}")
  if _suffix(path) in JSON_SUFFIXES:
    texts = list(_json_texts(path, _lines(path, MAX_LINE), column))
  else:
    texts = ["".join(_lines(path, PIECE))]
  if not any(text.strip() for text in texts):
    raise UserError(f"expected text in {path}", "got none")
  return texts


def split_paragraphs(text: str) -> list[str]:
  """Returns the paragraphs, each with the blank lines that follow it.

  Joined they are the text.
  """
  parts = re.split(r"(\n[^\S\n]*(?:\n[^\S\n]*)*\n)", text)
  pieces = [a + b for a, b in zip(parts[::2], [*parts[1::2], ""], strict=True)]
  return [piece for piece in pieces if piece]


def find_copies(paragraphs: Sequence[str]) -> list[bool]:
  """Returns whether each paragraph occurs before, but for white space."""
  seen: set[str] = set()
  copies = []
  for paragraph in paragraphs:
    key = " ".join(paragraph.split())
    copies.append(bool(key) and key in seen)
    seen.add(key)
  return copies


def _suffix(path: Path) -> str:
  name = path.name.lower().removesuffix(".gz")
  return os.path.splitext(name)[1]


def _lines(path: Path, limit: int) -> Iterator[str]:
  """Yields the lines of a file, and longer ones in pieces, see `read_lines`."""
  size = 0
  for line in read_lines(path, limit):
    size += len(line)
    if size > MAX_CHARACTERS:
      raise UserError(
        f"expected at most {MAX_CHARACTERS:,} characters in {path}",
        "got more",
        "split the file",
      )
    yield line


def _json_texts(path: Path, lines: Iterator[str], column: str) -> Iterator[str]:
  for number, line in enumerate(lines, start=1):
    if not line.strip():
      continue
    if len(line) > MAX_LINE:
      raise UserError(
        f"expected at most {MAX_LINE:,} characters in a line of {path}",
        f"got more in line {number}",
      )
    try:
      row = json.loads(line)
    except (ValueError, RecursionError) as error:
      raise UserError(
        f"expected a JSON object in each line of {path}",
        f"got line {number}: {error}",
      ) from error
    known = row if isinstance(row, dict) else {}
    if not isinstance(known.get(column), str):
      raise UserError(
        f"expected an object with a text {column!r} in each line of {path}",
        f"got line {number}: {line.strip()[:80]}",
        nearest(column, known),
      )
    yield known[column]

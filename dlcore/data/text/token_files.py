"""Reading of sequences of tokens, with or without a tag for each.

A file has a token in each line and an empty line after each sequence, as in the
shared tasks of CoNLL. Or it has a JSON object with a list of tokens in each
line, or is a table with a column of tokens that are separated by spaces.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dlcore.data.info import IGNORED
from dlcore.data.tables.table_formats import (
  JSON_SUFFIXES,
  open_chunks,
  to_cell,
)
from dlcore.data.tables.text_lines import read_lines
from dlcore.data.text.text_files import check_known
from dlcore.errors import UserError

MAX_LINE = 1 << 24
"""Characters of a line."""

DOCUMENT_START = "-DOCSTART-"
"""Token that separates documents in CoNLL-2003, and the name of the field of
sequences that numbers their documents."""

TABLE_SUFFIX = ".csv"

CHUNK_ROWS = 4096
"""Rows of a table that are read at a time."""

Rows = Sequence[tuple[int, Sequence[str]]]
"""The number of a line and its columns."""


class TokenFormat(NamedTuple):
  """Where tokens and tags are in a file."""

  token_column: int = 0
  """Column of the token, from 0, or from -1 for the last."""

  tag_column: int = -1
  """Column of the tag."""

  tokens: str = "tokens"
  """Name of the list of tokens in a JSON object, or of a column of a table."""

  tags: str = "tags"
  """Name of the list, or of the column, of tags."""

  ignored: str = "_"
  """Tag of tokens that are not scored; so are -100 and in JSON null."""

  comment: str = ""
  """Begin of lines to leave out, such as "#"; empty for none."""


class Sentence(NamedTuple):
  """A sequence of tokens."""

  line: int
  """Number of its first line in the file, from 1."""

  tokens: tuple[str, ...]

  tags: tuple[str | None, ...]
  """None for tokens that are not scored; empty if tags are not read."""

  error: str
  """Reason why the sequence is malformed, or `""`."""

  fields: Mapping[str, str] = {}
  """Those that were asked for, `""` if the sequence has none of a name."""


def read_sentences(
  path: Path, form: TokenFormat, *, tagged: bool, fields: Sequence[str] = ()
) -> Iterator[Sentence]:
  """Yields the sequences of a file.

  Args:
    path: columns separated by tabs or other white space, JSON lines or a table,
      .csv (each also .gz); files ending in .conllu have comments, and lines
      such as "1-2" that are left out.
    form: where tokens and tags are.
    tagged: whether the file has tags.
    fields: names of further fields: of JSON objects, of columns of a table, or
      of comments "# NAME = VALUE", which count for the sequences after them
      too; `DOCUMENT_START` numbers the documents of CoNLL-2003.

  Raises:
    UserError: the file is missing, unreadable or not UTF-8, or is a table
      without one of the columns.
  """
  if not os.path.isfile(path):  # Opening a pipe would wait.
    raise UserError(
      "expected a file of tokens", f"got no file at {str(path)!r}"
    )
  suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
  if any(suffix in JSON_SUFFIXES for suffix in suffixes):
    yield from _read_json(path, form, tagged, fields)
    return
  if TABLE_SUFFIX in suffixes:
    yield from _read_table(path, form, tagged, fields)
    return
  is_conllu = ".conllu" in suffixes
  comment = form.comment or ("#" if is_conllu else "")
  known = dict.fromkeys(fields, "")
  for rows, comments in _read_blocks(path, comment):
    known |= _metadata(comments, fields)
    words = [(n, r) for n, r in rows if not is_conllu or r[0].isdigit()]
    if words and words[0][1][0] == DOCUMENT_START:
      known[DOCUMENT_START] = str(words[0][0])
      words = words[1:]
    if words:
      sentence = _to_sentence(words, form, tagged)
      yield sentence._replace(fields={name: known[name] for name in fields})


def clean_token(token: str) -> str:
  """Returns a token without white space; lone surrogates become "?"."""
  joined = "_".join(token.split()) or "_"
  return joined.encode("utf-8", "replace").decode()


def _read_blocks(
  path: Path, comment: str
) -> Iterator[tuple[Rows, Sequence[str]]]:
  """Yields the lines between empty ones, and the comments above them."""
  rows: list[tuple[int, list[str]]] = []
  comments: list[str] = []
  for number, line in enumerate(read_lines(path, MAX_LINE), start=1):
    if len(line) > MAX_LINE:
      raise UserError(
        f"expected a token in each line of {path}",
        f"got more than {MAX_LINE:,} characters in line {number}",
      )
    if not line.strip():
      if rows:
        yield rows, comments
        rows, comments = [], []
    elif comment and line.startswith(comment):
      comments.append(line.removeprefix(comment))
    else:
      columns = line.rstrip("\r\n").split("\t") if "\t" in line else None
      rows.append((number, [c.strip() for c in columns or line.split()]))
  if rows:
    yield rows, comments


def _metadata(comments: Sequence[str], names: Sequence[str]) -> dict[str, str]:
  """Returns the values of comments such as "newdoc id = a" by their names."""
  pairs = (comment.partition("=") for comment in comments)
  values = {name.strip(): value.strip() for name, _, value in pairs}
  return {name: values[name] for name in names if name in values}


def _to_sentence(rows: Rows, form: TokenFormat, tagged: bool) -> Sentence:
  """Returns the sequence of some lines."""
  first, width = rows[0][0], len(rows[0][1])
  chosen = (form.token_column, form.tag_column)[: 1 + tagged]
  at = [column + width * (column < 0) for column in chosen]
  for number, columns in rows:
    if why := _problem(columns, width, at):
      return Sentence(first, (), (), f"line {number}: {why}")
  tokens = tuple(clean_token(columns[at[0]]) for _, columns in rows)
  tags = [columns[at[1]] for _, columns in rows] if tagged else []
  return Sentence(first, tokens, _scored(tags, form), "")


def _problem(columns: Sequence[str], width: int, at: Sequence[int]) -> str:
  """Returns why a line has no token or no tag, or `""`."""
  if len(columns) != width:
    return f"{len(columns)} columns in place of {width}"
  if len(set(at)) < len(at) or not all(0 <= i < width for i in at):
    return f"{width} columns, without one of the token and one of the tag"
  return "" if all(columns[i] for i in at) else "an empty token or tag"


def _scored(
  tags: Sequence[str | None], form: TokenFormat
) -> tuple[str | None, ...]:
  unscored = {form.ignored, str(IGNORED)}
  return tuple(None if tag in unscored else tag for tag in tags)


def _read_table(
  path: Path, form: TokenFormat, tagged: bool, fields: Sequence[str]
) -> Iterator[Sentence]:
  names = [form.tokens, *[form.tags] * tagged, *fields]
  chunks, _, _ = open_chunks(path, CHUNK_ROWS, names)
  for chunk in chunks:
    for line, reason in chunk.errors:
      yield Sentence(line, (), (), reason)
    if not len(chunk.lines):
      continue
    check_known(path, names, chunk.cells)
    cells = zip(*(chunk.cells[name] for name in names), strict=True)
    for line, row in zip(chunk.lines, cells, strict=True):
      values = dict(zip(names, row, strict=True))
      tokens = tuple(map(clean_token, values[form.tokens].split()))
      tags = values[form.tags].split() if tagged else []
      error = "" if tokens else "an empty text"
      if tokens and tagged and len(tags) != len(tokens):
        error = f"{len(tokens)} tokens and {len(tags)} tags"
      kept = {name: values[name] for name in fields}
      yield Sentence(line, tokens, _scored(tags, form), error, kept)


def _read_json(
  path: Path, form: TokenFormat, tagged: bool, fields: Sequence[str]
) -> Iterator[Sentence]:
  for number, line in enumerate(read_lines(path, MAX_LINE), start=1):
    if line.strip():
      try:
        tokens, tags, content = _parse(line, form, tagged)
        kept = {name: to_cell(content.get(name)) for name in fields}
        yield Sentence(number, tokens, tags, "", kept)
      except (ValueError, RecursionError) as error:
        yield Sentence(number, (), (), str(error))


def _parse(
  line: str, form: TokenFormat, tagged: bool
) -> tuple[tuple[str, ...], tuple[str | None, ...], dict[str, Any]]:
  """Returns the tokens and the tags of a JSON object, and the object.

  Raises:
    ValueError: the line is no such object.
  """
  if len(line) > MAX_LINE:
    raise ValueError(f"more than {MAX_LINE:,} characters in a line")
  content = json.loads(line)
  if not isinstance(content, dict):
    raise ValueError(f"expected a JSON object, got {line.strip()[:40]!r}")
  tokens = [_text(value) for value in _list(content, form.tokens)]
  if None in tokens or not tokens:
    raise ValueError(f"{form.tokens!r} without a text for each token")
  cleaned = tuple(clean_token(token or "") for token in tokens)
  if not tagged:
    return cleaned, (), content
  tags = [_text(value) for value in _list(content, form.tags)]
  if len(tags) != len(tokens):
    raise ValueError(f"{len(tokens)} tokens and {len(tags)} tags")
  return cleaned, _scored(tags, form), content


def _list(content: dict[str, Any], name: str) -> list[Any]:
  value = content.get(name)
  if not isinstance(value, list):
    known = ", ".join(map(repr, content))[:80]
    raise ValueError(f"no list {name!r} among the fields {known}")
  return value


def _text(value: Any) -> str | None:
  """Returns a string or a number as text, and None for null.

  Raises:
    ValueError: it is something else.
  """
  if value is None:
    return None
  if isinstance(value, str | int | float):
    return str(value)
  raise ValueError(f"expected texts in a list, got {value!r:.40}")

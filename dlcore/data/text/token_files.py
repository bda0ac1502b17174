"""Reading of sequences of tokens, with or without a tag for each.

A file has a token in each line and an empty line after each sequence, as in the
shared tasks of CoNLL, or a JSON object with a list of tokens in each line.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dlcore.data.tables.table_formats import JSON_SUFFIXES
from dlcore.data.tables.text_lines import read_lines
from dlcore.errors import UserError

MAX_LINE = 1 << 24
"""Characters of a line."""

DOCUMENT_START = "-DOCSTART-"
"""Token that separates documents in CoNLL-2003."""

Rows = Sequence[tuple[int, Sequence[str]]]
"""The number of a line and its columns."""


class TokenFormat(NamedTuple):
  """Where tokens and tags are in a file."""

  token_column: int = 0
  """Column of the token, from 0, or from -1 for the last."""

  tag_column: int = -1
  """Column of the tag."""

  tokens: str = "tokens"
  """Name of the list of tokens in a JSON object."""

  tags: str = "tags"
  """Name of the list of tags."""

  ignored: str = "_"
  """Tag of tokens that are not scored; in JSON null too."""

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


def read_sentences(
  path: Path, form: TokenFormat, *, tagged: bool
) -> Iterator[Sentence]:
  """Yields the sequences of a file.

  Args:
    path: columns separated by tabs or other white space, or JSON lines (both
      also .gz); files ending in .conllu have comments, and lines such as "1-2"
      that are left out.
    form: where tokens and tags are.
    tagged: whether the file has tags.

  Raises:
    UserError: the file is missing, unreadable or not UTF-8.
  """
  if not os.path.isfile(path):  # Opening a pipe would wait.
    raise UserError(
      "expected a file of tokens", f"got no file at {str(path)!r}"
    )
  suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
  if any(suffix in JSON_SUFFIXES for suffix in suffixes):
    yield from _read_json(path, form, tagged)
    return
  is_conllu = ".conllu" in suffixes
  comment = form.comment or ("#" if is_conllu else "")
  for rows in _read_blocks(path, comment):
    words = [(n, r) for n, r in rows if not is_conllu or r[0].isdigit()]
    if words and words[0][1][0] != DOCUMENT_START:
      yield _to_sentence(words, form, tagged)


def clean_token(token: str) -> str:
  """Returns a token without white space; lone surrogates become "?"."""
  joined = "_".join(token.split()) or "_"
  return joined.encode("utf-8", "replace").decode()


def _read_blocks(path: Path, comment: str) -> Iterator[Rows]:
  """Yields the lines between empty ones."""
  rows: list[tuple[int, list[str]]] = []
  for number, line in enumerate(read_lines(path, MAX_LINE), start=1):
    if len(line) > MAX_LINE:
      raise UserError(
        f"expected a token in each line of {path}",
        f"got more than {MAX_LINE:,} characters in line {number}",
      )
    if not line.strip():
      if rows:
        yield rows
      rows = []
    elif not comment or not line.startswith(comment):
      columns = line.rstrip("\r\n").split("\t") if "\t" in line else None
      rows.append((number, [c.strip() for c in columns or line.split()]))
  if rows:
    yield rows


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
  return tuple(None if tag == form.ignored else tag for tag in tags)


def _read_json(
  path: Path, form: TokenFormat, tagged: bool
) -> Iterator[Sentence]:
  for number, line in enumerate(read_lines(path, MAX_LINE), start=1):
    if line.strip():
      try:
        tokens, tags = _parse(line, form, tagged)
        yield Sentence(number, tokens, tags, "")
      except (ValueError, RecursionError) as error:
        yield Sentence(number, (), (), str(error))


def _parse(
  line: str, form: TokenFormat, tagged: bool
) -> tuple[tuple[str, ...], tuple[str | None, ...]]:
  """Returns the tokens and the tags of a JSON object.

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
    return cleaned, ()
  tags = [_text(value) for value in _list(content, form.tags)]
  if len(tags) != len(tokens):
    raise ValueError(f"{len(tokens)} tokens and {len(tags)} tags")
  return cleaned, _scored(tags, form)


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

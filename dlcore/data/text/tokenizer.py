"""Tokenizers by kind: from texts to token ids, and back."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from dlcore.data import json_fields
from dlcore.data.text.framing import Frame
from dlcore.data.text.library_tokenizer import LibraryTokenizer, read_tokenizer
from dlcore.data.text.symbol_tokenizers import (
  MAX_SYMBOLS,
  NUM_SPECIAL,
  ByteTokenizer,
  CharacterTokenizer,
  SpaceTokenizer,
)
from dlcore.data.text.word_tokenizer import WordTokenizer
from dlcore.errors import UserError, nearest
from dlcore.filesystem import first_line, read_json


class Tokenizer(Protocol):
  """Interface of a tokenizer, whose ids are those of one vocabulary.

  An id is None if the vocabulary lacks the token. `pad_id` and `eos_id` differ.
  """

  @property
  def kind(self) -> str:
    """Key of `TOKENIZERS`."""
    ...

  @property
  def vocab_size(self) -> int:
    """Number of token ids, V."""
    ...

  @property
  def pad_id(self) -> int:
    """Id of padding."""
    ...

  @property
  def unknown_id(self) -> int | None:
    """Id of symbols that are not in the vocabulary."""
    ...

  @property
  def bos_id(self) -> int | None:
    """Id of the begin of a text."""
    ...

  @property
  def eos_id(self) -> int | None:
    """Id of the end of a text."""
    ...

  @property
  def mask_id(self) -> int | None:
    """Id that takes the place of a masked token."""
    ...

  @property
  def special_ids(self) -> tuple[int, ...]:
    """Ids that are not those of text, ascending: all of the above."""
    ...

  def frame(self, *, pair: bool) -> Frame:
    """Returns the special tokens around a text, or around a pair."""
    ...

  def encode(self, text: str) -> list[int]:
    """Returns the ids of a text, without special tokens."""
    ...

  def decode(self, ids: Sequence[int]) -> str:
    """Returns the text of ids, without special tokens."""
    ...

  def to_json(self) -> dict[str, Any]:
    """Returns the tokenizer as JSON data for `tokenizer_from_json`."""
    ...


TOKENIZERS: dict[str, Any] = {
  "bytes": ByteTokenizer,
  "characters": CharacterTokenizer,
  "spaces": SpaceTokenizer,
  "tokenizers": LibraryTokenizer,
  "words": WordTokenizer,
}
"""Class of each kind of tokenizer."""

FITTED = ("bytes", "characters", "spaces", "words")
"""Kinds whose vocabulary is that of the training texts."""

OF_RUN = Path("assets", "data.json")
"""File of the tokenizer in the folder of a run, which describes its data."""

MAX_BYTES = 1 << 28
"""Limit of the size of that file."""


def make_tokenizer(
  name: str,
  texts: Iterable[str],
  *,
  vocab_size: int = 0,
  min_count: int = 1,
  lowercase: bool = False,
  setting: str = "tokenizer",
) -> Tokenizer:
  """Returns a tokenizer that is fitted to texts, or read from a file.

  Args:
    name: one of `FITTED`, the path of a tokenizer.json or of its folder, or the
      folder of a run of texts, whose tokenizer it is. The other arguments are
      those of a kind.
    texts: the training texts.
    vocab_size: largest number of ids of words or characters; 0 for any.
    min_count: least number of occurrences of a word or character.
    lowercase: whether texts are converted to lower case first.
    setting: "target_tokenizer" for that of the targets of a run, if it has one.

  Raises:
    UserError: see `check_tokenizer` and `read_tokenizer`.
  """
  check_tokenizer(name, vocab_size, min_count)
  if name not in FITTED:
    path = Path(os.path.expanduser(name))
    if os.path.lexists(path / OF_RUN):
      return _tokenizer_of_run(path / OF_RUN, setting)
    return read_tokenizer(path)
  return TOKENIZERS[name].fit(
    texts, vocab_size=vocab_size, min_count=min_count, lowercase=lowercase
  )


def check_tokenizer(name: str, vocab_size: int, min_count: int) -> None:
  """Checks the arguments of `make_tokenizer`.

  Raises:
    UserError: the name is neither a kind nor the path of a file, or a number
      is out of range.
  """
  if name not in FITTED and not os.path.exists(os.path.expanduser(name)):
    raise UserError(
      f"expected tokenizer to be one of {', '.join(FITTED)}, or the path of a "
      "tokenizer.json, of its folder or of a run",
      f"got {name!r}",
      nearest(name, FITTED),
    )
  if vocab_size != 0 and not NUM_SPECIAL < vocab_size <= MAX_SYMBOLS:
    raise UserError(
      f"expected vocab_size from {NUM_SPECIAL + 1} to {MAX_SYMBOLS:,}, or 0 "
      "for no limit",
      f"got {vocab_size}",
    )
  if min_count < 1:
    raise UserError("expected min_count of at least 1", f"got {min_count}")


def tokenizer_from_json(content: Mapping[str, Any]) -> Tokenizer:
  """Returns the tokenizer that `to_json` wrote, from a file of any origin.

  Raises:
    One of `json_fields.MALFORMED`: the content is malformed.
  """
  return TOKENIZERS[content["kind"]].from_json(content)


def run_schema(folder: str) -> Mapping[str, Any] | None:
  """Returns the schema of the data of a run as JSON, None for other folders.

  Raises:
    UserError: the file is malformed.
  """
  file = Path(os.path.expanduser(folder)) / OF_RUN
  if not os.path.lexists(file):
    return None
  try:
    schema = read_json(file, max_bytes=MAX_BYTES)["schema"]
    if not isinstance(schema, dict):
      raise TypeError(f"schema={type(schema).__name__}")
    return schema
  except (OSError, *json_fields.MALFORMED) as error:
    raise _no_run(file, f"a damaged file: {first_line(error)}") from error


def _tokenizer_of_run(file: Path, setting: str) -> Tokenizer:
  """Returns the tokenizer in the description of the data of a run.

  Raises:
    UserError: the file is malformed, or its data have no tokenizer.
  """
  schema = run_schema(str(file.parents[1])) or {}
  content = schema.get(setting) or schema.get("tokenizer")
  if content is None:
    raise _no_run(file, f"data of the kind {schema.get('kind')!r:.40}")
  try:
    return tokenizer_from_json(content)
  except json_fields.MALFORMED as error:
    raise _no_run(file, f"a damaged one: {first_line(error)}") from error


def _no_run(file: Path, got: str) -> UserError:
  return UserError(
    f"expected a run of texts with a tokenizer in {file}",
    f"got {got}",
    "choose another run, or the path of a tokenizer.json",
  )

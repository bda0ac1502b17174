"""Token ids of a published folder that generation needs."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dlcore.data.text.tokenizer_checks import MAX_ID, vocabulary_ids
from dlcore.data.text.tokenizer_options import (
  TOKENIZER,
  TOKENIZER_CONFIG,
  token_content,
)
from dlcore.errors import UserError
from dlcore.filesystem import quoted
from dlcore.transfer import argument_checks
from dlcore.transfer.io import sources

SPECIAL_TOKENS = "special_tokens_map.json"


class SpecialIds(NamedTuple):
  """Arguments of `generation` that a published folder determines."""

  eos_ids: tuple[int, ...] = ()
  """Ids that end a sequence."""

  pad_id: int | None = None
  """The id after the end of a sequence; None if the folder names none."""

  decoder_start_id: int | None = None
  """The id before the first target token, of encoder-decoders."""

  suppress_tokens: tuple[int, ...] = ()
  """Ids that are never generated; `bad_words_ids` of one token belong to
  them."""


def load_special_ids(source: str | Path) -> SpecialIds:
  """Reads the ids of generation_config.json, config.json and the tokenizer.

  The first file that has an entry takes precedence, in this order. A negative
  id means none.

  Args:
    source: a folder with one of the files, or `hf:org/name`.

  Raises:
    UserError: a file is invalid, or an entry is not an id.
  """
  signature = "transfer.load_special_ids(source)"
  argument_checks.check_path("source", source, signature)
  path, link_root = sources.locate(source)
  if not os.path.isdir(path):
    raise sources.not_found(
      source, f"expected a folder with {sources.CONFIG}, or hf:ORG/NAME"
    )
  return special_ids(path, link_root)


def special_ids(
  folder: Path,
  link_root: Path | None = None,
  tokenizer: Mapping[str, Any] | None = None,
) -> SpecialIds:
  """Returns the ids of a folder, see `load_special_ids`.

  Args:
    folder: the published folder.
    link_root: see `files.open_plain`.
    tokenizer: content of tokenizer.json; by default it is read if the end of
      sequences is in no other file.
  """
  names = (sources.GENERATION, sources.CONFIG)
  settings = [
    (folder / name, sources.read_settings(folder, name, link_root) or {})
    for name in names
  ]

  def ids(key: str) -> tuple[int, ...]:
    entries = (_ids(path, key, content.get(key)) for path, content in settings)
    return next(filter(None, entries), ())

  eos_ids = ids("eos_token_id")
  if not eos_ids:
    eos_ids = _tokenizer_eos(folder, link_root, tokenizer)
  pad_ids, start_ids = ids("pad_token_id"), ids("decoder_start_token_id")
  return SpecialIds(
    eos_ids,
    pad_ids[0] if pad_ids else None,
    start_ids[0] if start_ids else None,
    tuple(dict.fromkeys((*ids("suppress_tokens"), *_bad_words(settings)))),
  )


def tokenizer_settings(
  folder: Path, link_root: Path | None = None
) -> dict[str, Any]:
  """Returns the settings of a tokenizer's folder, merged as in transformers.

  Older folders, whose settings do not list the added tokens, have a separate
  file of special tokens.
  """
  config = sources.read_settings(folder, TOKENIZER_CONFIG, link_root) or {}
  if "added_tokens_decoder" not in config:
    config |= sources.read_settings(folder, SPECIAL_TOKENS, link_root) or {}
  return config


def _tokenizer_eos(
  folder: Path, link_root: Path | None, tokenizer: Mapping[str, Any] | None
) -> tuple[int, ...]:
  """Returns the id of the `eos_token` of the tokenizer's settings."""
  token = token_content(tokenizer_settings(folder, link_root).get("eos_token"))
  if token is None:
    return ()
  if tokenizer is None:
    tokenizer = sources.read_settings(folder, TOKENIZER, link_root) or {}
  vocabulary = vocabulary_ids(tokenizer)
  path = folder / TOKENIZER
  return _ids(path, f"the id of {token!r}", vocabulary.get(token))


def _bad_words(settings: list[tuple[Path, dict[str, Any]]]) -> list[int]:
  """Returns the first nonempty `bad_words_ids` of one token each."""
  for path, content in settings:
    if words := content.get("bad_words_ids"):
      lists = words if isinstance(words, list) else [words]
      checked = [_ids(path, "bad_words_ids", word) for word in lists]
      return [ids[0] for ids in checked if len(ids) == 1]
  return []


def _ids(path: Path, key: str, value: Any) -> tuple[int, ...]:
  """Returns one id, a list of ids or null as a tuple.

  Raises:
    UserError: it is none of these, or an id exceeds int32.
  """
  ids = value if isinstance(value, list) else [value]
  ids = [] if value is None else ids
  if not all(type(i) is int and i <= MAX_ID for i in ids):
    raise UserError(
      f"expected {key} in {path} to be a token id or a list of them",
      f"got {quoted(value)}",
      "correct the file, or download it again",
    )
  return tuple(i for i in ids if i >= 0)

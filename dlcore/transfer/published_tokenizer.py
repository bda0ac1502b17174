"""Tokenizers of published folders, by the package `tokenizers`."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlcore.data.text import tokenizer_checks
from dlcore.data.text import tokenizer_options as options
from dlcore.data.text.tokenizer_options import TOKENIZER
from dlcore.errors import UserError, install_hint
from dlcore.filesystem import quoted
from dlcore.transfer import argument_checks
from dlcore.transfer.io import files, sources
from dlcore.transfer.special_ids import (
  SpecialIds,
  special_ids,
  tokenizer_settings,
)

CLEAN_UP = {
  " .": ".",
  " ?": "?",
  " !": "!",
  " ,": ",",
  " ' ": "'",
  " n't": "n't",
  " 'm": "'m",
  " 's": "'s",
  " 've": "'ve",
  " 're": "'re",
}
"""Replacements of `clean_up_tokenization_spaces`, applied in order."""


class Tokenizer:
  """Converts strings to the arrays that text models take, and back.

  Attributes:
    inner: the `tokenizers.Tokenizer`, for all other methods.
    pad_id: id of the padding token; without one, the first of `eos_ids`.
    eos_ids: ids that end a sequence, see `load_special_ids`.
    padding_side: "left" or "right".
    truncation_side: "left" or "right", the end that `max_length` cuts off.
    clean_up_spaces: whether decoding removes spaces before punctuation, see
      `CLEAN_UP`.
  """

  def __init__(
    self,
    inner: Any,
    pad_id: int = 0,
    *,
    eos_ids: Sequence[int] = (),
    padding_side: str = "right",
    truncation_side: str = "right",
    clean_up_spaces: bool = False,
  ):
    self.inner = inner
    self.pad_id = pad_id
    self.eos_ids = tuple(eos_ids)
    self.padding_side = padding_side
    self.truncation_side = truncation_side
    self.clean_up_spaces = clean_up_spaces

  @property
  def vocab_size(self) -> int:
    """The number of token ids, including added tokens."""
    return self.inner.get_vocab_size()

  def encode(
    self,
    texts: Sequence[str],
    pairs: Sequence[str] = (),
    *,
    max_length: int = 0,
    add_special_tokens: bool = True,
  ) -> dict[str, np.ndarray]:
    """Returns the arguments of a text model for B strings.

    Args:
      texts: B strings.
      pairs: a second string for each, such as the answer to a question.
      max_length: the maximum number of tokens of a sequence. Longer ones are
        truncated; of a pair, the longer string is. 0 truncates nothing.
      add_special_tokens: whether to add the tokenizer's tokens for beginning
        and end.

    Returns:
      int32 `[B, T]`, T of the longest sequence: `input_ids`, padded by `pad_id`
      at `padding_side`; `attention_mask`, 1 for tokens and 0 for padding; and
      `token_type_ids`, 1 for tokens of the second string.

    Raises:
      UserError: `texts` is a string or contains other values, the number of
        pairs differs from that of texts, `max_length` has no room for a token
        or cuts off too much of a pair, or the tokenizer fails, for example
        without an unknown token.
    """
    if isinstance(texts, str) or (pairs and len(pairs) != len(texts)):
      raise UserError(
        "expected a list of texts, and an equal number of pairs or an empty "
        "list",
        f"got the string {quoted(texts)}"
        if isinstance(texts, str)
        else f"got {len(texts)} texts and {len(pairs)} pairs",
        "pass one text as [text], and one pair for each text",
      )
    self.inner.no_padding()
    self.inner.no_truncation()
    tokenizer_checks.check_strings([*texts, *pairs])
    tokenizer_checks.check_pairs(self.inner, texts, pairs, max_length)
    self._set_truncation(max_length, bool(pairs), add_special_tokens)
    batch = list(zip(texts, pairs, strict=True)) if pairs else list(texts)
    rows = tokenizer_checks.call(
      lambda: self.inner.encode_batch(
        batch, add_special_tokens=add_special_tokens
      ),
      f"expected a {TOKENIZER} that encodes these texts",
      "correct the file, or download it again",
    )
    left = self.padding_side == "left"
    return {
      "input_ids": _padded([row.ids for row in rows], self.pad_id, left),
      "attention_mask": _padded([row.attention_mask for row in rows], 0, left),
      "token_type_ids": _padded([row.type_ids for row in rows], 0, left),
    }

  def decode(self, ids: Iterable[Sequence[int]]) -> list[str]:
    """Returns the strings of B sequences of ids, without special tokens.

    Raises:
      UserError: `ids` are not integers `[B, T]` from 0, or the tokenizer fails.
    """
    rows = tokenizer_checks.id_rows(ids)
    texts = tokenizer_checks.call(
      lambda: self.inner.decode_batch(rows, skip_special_tokens=True),
      f"expected a {TOKENIZER} that decodes these ids",
      "correct the file, or download it again",
    )
    return list(map(_cleaned_up, texts)) if self.clean_up_spaces else texts

  def _set_truncation(
    self, max_length: int, has_pairs: bool, add_special_tokens: bool
  ) -> None:
    if not max_length:
      return
    special = self.inner.num_special_tokens_to_add(has_pairs)
    minimum = 1 + add_special_tokens * special
    if max_length < minimum:
      raise UserError(
        f"expected max_length >= {minimum}, with room for special tokens",
        f"got max_length={max_length}",
        "increase it, or pass 0 to truncate nothing",
      )
    limit = min(max_length, tokenizer_checks.MAX_TOKENS)
    self.inner.enable_truncation(limit, direction=self.truncation_side)


def load_tokenizer(source: str | Path) -> Tokenizer:
  """Loads the tokenizer of a published folder.

  Args:
    source: a folder with tokenizer.json, that file, or `hf:org/name`.

  Raises:
    UserError: the file is missing or invalid, or the package `tokenizers` is
      not installed.
  """
  signature = "transfer.load_tokenizer(source)"
  argument_checks.check_path("source", source, signature)
  try:
    import tokenizers
  except ImportError:
    raise UserError(
      f"expected the package tokenizers, which reads {TOKENIZER}",
      "it is not installed",
      f"install it: {install_hint('hub')}",
    ) from None
  path, link_root = sources.locate(source)
  if not os.path.lexists(path):
    raise sources.not_found(
      source, f"expected a folder with {TOKENIZER}, that file, or hf:ORG/NAME"
    )
  folder, path = (
    (path, path / TOKENIZER) if os.path.isdir(path) else (path.parent, path)
  )
  if not os.path.lexists(path):
    raise _missing(folder, link_root)

  inner = files.parse_file(
    path,
    lambda content: tokenizer_checks.parse(content, tokenizers),
    "a tokenizer",
    link_root,
  )
  config = tokenizer_settings(folder, link_root)
  special = special_ids(folder, link_root, files.read_json(path, link_root))
  padding, truncation = inner.padding, inner.truncation
  inner.no_padding()
  inner.no_truncation()
  options.apply_normalization(inner, config, folder)
  options.check_special_tokens(inner, config, folder)
  return Tokenizer(
    inner,
    _pad_id(inner, padding, config, special),
    eos_ids=special.eos_ids,
    padding_side=options.side("padding_side", padding, config, folder),
    truncation_side=options.side("truncation_side", truncation, config, folder),
    clean_up_spaces=config.get("clean_up_tokenization_spaces") is True
    # Byte-pair tokens contain the spaces of the text. Transformers skips these
    # tokenizers, too.
    and type(inner.model).__name__ != "BPE",
  )


def _pad_id(
  inner: Any,
  padding: Mapping[str, Any] | None,
  config: Mapping[str, Any],
  special: SpecialIds,
) -> int:
  """Returns the id of the padding token.

  Falls back to the first end-of-sequence id, then to 0.
  """
  id_ = options.token_id(inner, config.get("pad_token"))
  if id_ is None and padding:
    id_ = padding["pad_id"]
  candidates = (id_, special.pad_id, *special.eos_ids)
  return next((i for i in candidates if i is not None), 0)


def _missing(folder: Path, link_root: Path | None) -> UserError:
  """Returns the error for a folder without a tokenizer.json."""
  path = folder / sources.CONFIG
  config = files.read_json(path, link_root) if path.exists() else {}
  if config.get("model_type") == "marian" or (folder / "source.spm").exists():
    return UserError(
      f"expected a tokenizer at {folder / TOKENIZER}",
      "got a folder of Marian, for which transformers cannot write that file",
      "with transformers, encode by MarianTokenizer.from_pretrained(FOLDER), "
      "and pass these ids to the model",
    )
  return UserError(
    f"expected a tokenizer at {folder / TOKENIZER}",
    "got no such file",
    "with transformers, run AutoTokenizer.from_pretrained(FOLDER)"
    ".save_pretrained(FOLDER)",
  )


def _padded(
  rows: Sequence[Sequence[int]], value: int, left: bool
) -> np.ndarray:
  """Returns sequences of different lengths as one int32 array `[B, T]`."""
  length = max(map(len, rows), default=0)
  padded = np.full((len(rows), length), value, np.int32)
  for target, row in zip(padded, rows, strict=True):
    begin = length - len(row) if left else 0
    target[begin : begin + len(row)] = row
  return padded


def _cleaned_up(text: str) -> str:
  """Returns a string without the spaces before punctuation."""
  for old, new in CLEAN_UP.items():
    text = text.replace(old, new)
  return text

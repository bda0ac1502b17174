"""Tokenizers of published folders, by the package `tokenizers`."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlcore.errors import UserError
from dlcore.transfer.io import files, sources

FILE = "tokenizer.json"
CONFIG = "tokenizer_config.json"
SPECIAL = "special_tokens_map.json"
SIDES = ("left", "right")

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
    pad_id: id of the padding token.
    padding_side: "left" or "right".
    clean_up_spaces: whether decoding removes spaces before punctuation, see
      `CLEAN_UP`.
  """

  def __init__(
    self,
    inner: Any,
    pad_id: int = 0,
    *,
    padding_side: str = "right",
    clean_up_spaces: bool = False,
  ):
    self.inner = inner
    self.pad_id = pad_id
    self.padding_side = padding_side
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
      UserError: `texts` is a string, the number of pairs differs from that of
        texts, or `max_length` has no room for a token.
    """
    if isinstance(texts, str) or (pairs and len(pairs) != len(texts)):
      raise UserError(
        "expected a list of texts, and an equal number of pairs or an empty "
        "list",
        f"got the string {files.quoted(texts)}"
        if isinstance(texts, str)
        else f"got {len(texts)} texts and {len(pairs)} pairs",
        "pass one text as [text], and one pair for each text",
      )
    self.inner.no_padding()
    self._set_truncation(max_length, bool(pairs), add_special_tokens)
    rows = self.inner.encode_batch(
      list(zip(texts, pairs, strict=True)) if pairs else list(texts),
      add_special_tokens=add_special_tokens,
    )
    left = self.padding_side == "left"
    return {
      "input_ids": _padded([row.ids for row in rows], self.pad_id, left),
      "attention_mask": _padded([row.attention_mask for row in rows], 0, left),
      "token_type_ids": _padded([row.type_ids for row in rows], 0, left),
    }

  def decode(self, ids: Iterable[Sequence[int]]) -> list[str]:
    """Returns the strings of sequences of ids, without special tokens."""
    rows = [[int(id_) for id_ in row] for row in ids]
    texts = self.inner.decode_batch(rows, skip_special_tokens=True)
    return list(map(_cleaned_up, texts)) if self.clean_up_spaces else texts

  def _set_truncation(
    self, max_length: int, has_pairs: bool, add_special_tokens: bool
  ) -> None:
    if not max_length:
      self.inner.no_truncation()
      return
    special = self.inner.num_special_tokens_to_add(has_pairs)
    minimum = 1 + add_special_tokens * special
    if max_length < minimum:
      raise UserError(
        f"expected max_length >= {minimum}, with room for special tokens",
        f"got max_length={max_length}",
        "increase it, or pass 0 to truncate nothing",
      )
    self.inner.enable_truncation(max_length)


def load_tokenizer(source: str | Path) -> Tokenizer:
  """Loads the tokenizer of a published folder.

  Args:
    source: a folder with tokenizer.json, that file, or `hf:org/name`.

  Raises:
    UserError: the file is missing or invalid, or the package `tokenizers` is
      not installed.
  """
  try:
    import tokenizers
  except ImportError:
    raise UserError(
      f"expected the package tokenizers, which reads {FILE}",
      "it is not installed",
      "pip install 'dlcore[hub]'",
    ) from None
  path, link_root = sources.locate(source)
  if not (path.exists() or path.is_symlink()):
    raise sources.not_found(
      source, f"expected a folder with {FILE}, that file, or hf:ORG/NAME"
    )
  folder, path = (path, path / FILE) if path.is_dir() else (path.parent, path)
  if not (path.exists() or path.is_symlink()):
    raise _missing(folder, link_root)

  def parse(content: bytes) -> Any:
    files.parse_json(content)  # Parsers disagree about repeated names.
    try:
      return tokenizers.Tokenizer.from_buffer(content)
    except Exception as error:  # The parser raises plain exceptions.
      raise ValueError(str(error)) from error

  inner = files.parse_file(path, parse, "a tokenizer", link_root)
  config = _read_config(folder, link_root)
  return Tokenizer(
    inner,
    _pad_id(inner, config),
    padding_side=_padding_side(inner, config, folder),
    clean_up_spaces=config.get("clean_up_tokenization_spaces") is True
    # Byte-pair tokens contain the spaces of the text. Transformers skips these
    # tokenizers, too.
    and type(inner.model).__name__ != "BPE",
  )


def _missing(folder: Path, link_root: Path | None) -> UserError:
  """Returns the error for a folder without a tokenizer.json."""
  path = folder / sources.CONFIG
  config = files.read_json(path, link_root) if path.exists() else {}
  if config.get("model_type") == "marian" or (folder / "source.spm").exists():
    return UserError(
      f"expected a tokenizer at {folder / FILE}",
      "got a folder of Marian, for which transformers cannot write that file",
      "with transformers, encode by MarianTokenizer.from_pretrained(FOLDER), "
      "and pass these ids to the model",
    )
  return UserError(
    f"expected a tokenizer at {folder / FILE}",
    "got no such file",
    "with transformers, run AutoTokenizer.from_pretrained(FOLDER)"
    ".save_pretrained(FOLDER)",
  )


def _read_config(folder: Path, link_root: Path | None) -> dict[str, Any]:
  """Returns the settings beside a tokenizer, merged as in transformers.

  Older folders, whose settings do not list the added tokens, have a separate
  file of special tokens.
  """
  path, special = folder / CONFIG, folder / SPECIAL
  config = files.read_json(path, link_root) if path.exists() else {}
  if special.exists() and "added_tokens_decoder" not in config:
    config |= files.read_json(special, link_root)
  return config


def _pad_id(inner: Any, config: Mapping[str, Any]) -> int:
  """Returns the id of the padding token, 0 if the settings name none."""
  token = config.get("pad_token")
  token = token.get("content") if isinstance(token, dict) else token
  pad_id = inner.token_to_id(token) if isinstance(token, str) else None
  if pad_id is None and inner.padding:
    return inner.padding["pad_id"]
  return pad_id or 0


def _padding_side(inner: Any, config: Mapping[str, Any], folder: Path) -> str:
  """Returns the side of the padding.

  Raises:
    UserError: the settings contain another value than "left" or "right".
  """
  default = inner.padding["direction"] if inner.padding else "right"
  side = config.get("padding_side", default)
  if side not in SIDES:
    raise UserError(
      f"expected padding_side to be 'left' or 'right' in {folder / CONFIG}",
      f"got {files.quoted(side)}",
      "correct the file, or download it again",
    )
  return side


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

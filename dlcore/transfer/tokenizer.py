"""The tokenizer of a published folder, used as it is."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlcore.errors import UserError
from dlcore.transfer import files, sources

FILE = "tokenizer.json"
SETTINGS = "tokenizer_config.json"


class Tokenizer:
  """Texts to the arrays that models of text take, and back.

  Attributes:
    inner: the `tokenizers.Tokenizer`, for all that is not here.
    pad: the id that fills short rows.
  """

  def __init__(self, inner: Any, pad: int = 0):
    self.inner = inner
    self.pad = pad

  @property
  def vocabulary(self) -> int:
    """The number of token ids, those that were added to it included."""
    return self.inner.get_vocab_size()

  def encode(
    self,
    texts: Sequence[str],
    pairs: Sequence[str] = (),
    *,
    length: int = 0,
    special: bool = True,
  ) -> dict[str, np.ndarray]:
    """Returns what a model is called with for some texts.

    Args:
      texts: B of them.
      pairs: a second text for each, such as an answer to a question.
      length: the most tokens of a row; what is over is cut off, of pairs from
        the longer one. 0 cuts nothing.
      special: whether to put in the tokens that mark beginning and end, where
        the tokenizer has such.

    Returns:
      int32 `[B, T]`, T of the longest: `input_ids`, filled by `pad`;
      `attention_mask`, 1 for tokens and 0 for what was filled; and
      `token_type_ids`, 1 for those of the second text.

    Raises:
      UserError: there is not one pair for each text, or no room for a text.
    """
    if isinstance(texts, str) or (pairs and len(pairs) != len(texts)):
      raise UserError(
        "expected a list of texts, and as many pairs or none",
        f"got {texts!r} and {len(pairs)} pairs"
        if isinstance(texts, str)
        else f"got {len(texts)} texts and {len(pairs)} pairs",
        "give one text as [text], and each of them a pair",
      )
    self.inner.no_padding()
    self._cut(length, bool(pairs), special)
    rows = self.inner.encode_batch(
      list(zip(texts, pairs, strict=True)) if pairs else list(texts),
      add_special_tokens=special,
    )
    return {
      "input_ids": _filled([row.ids for row in rows], self.pad),
      "attention_mask": _filled([row.attention_mask for row in rows], 0),
      "token_type_ids": _filled([row.type_ids for row in rows], 0),
    }

  def decode(self, ids: Iterable[Sequence[int]]) -> list[str]:
    """Returns the texts of rows of ids, without special tokens."""
    rows = [[int(one) for one in row] for row in ids]
    return self.inner.decode_batch(rows, skip_special_tokens=True)

  def _cut(self, length: int, pairs: bool, special: bool) -> None:
    if not length:
      self.inner.no_truncation()
      return
    least = 1 + special * self.inner.num_special_tokens_to_add(pairs)
    if length < least:
      raise UserError(
        f"expected a length of at least {least}, with room for special tokens",
        f"got {length}",
        "give more, or 0 to cut nothing",
      )
    self.inner.enable_truncation(length)


def load_tokenizer(source: str | Path) -> Tokenizer:
  """Opens the tokenizer of a published folder.

  Args:
    source: a folder with tokenizer.json, that file itself, or `hf:org/name`.

  Raises:
    UserError: there is none, it cannot be read, or `tokenizers` is missing.
  """
  try:
    import tokenizers
  except ImportError:
    raise UserError(
      f"expected the package tokenizers, which reads {FILE}",
      "it is not installed",
      "pip install 'dlcore[hub]'",
    ) from None
  path, within = sources.locate(source)
  if not (path.exists() or path.is_symlink()):
    raise sources.absent(
      source, f"expected a folder with {FILE}, that file, or hf:ORG/NAME"
    )
  folder, path = (path, path / FILE) if path.is_dir() else (path.parent, path)
  if not (path.exists() or path.is_symlink()):
    raise _missing(folder, within)

  def parse(text: bytes) -> Any:
    files.parsed(text)  # Names that come twice are read in two ways.
    try:
      return tokenizers.Tokenizer.from_buffer(text)
    except (
      Exception
    ) as error:  # What its parser raises has no class of its own.
      raise ValueError(str(error)) from error

  inner = files.read(path, parse, "a tokenizer", within)
  return Tokenizer(inner, _pad(inner, folder / SETTINGS, within))


def _missing(folder: Path, within: Path | None) -> UserError:
  """Returns what is told of a folder without a tokenizer.json."""
  path = folder / sources.CONFIG
  config = files.read_json(path, within) if path.exists() else {}
  if config.get("model_type") == "marian" or (folder / "source.spm").exists():
    return UserError(
      f"expected a tokenizer at {folder / FILE}",
      "got a folder of Marian, for which transformers writes no such file",
      "where transformers is, encode by MarianTokenizer.from_pretrained(FOLDER)"
      ", and give the model these ids",
    )
  return UserError(
    f"expected a tokenizer at {folder / FILE}",
    "got no such file",
    "where transformers is, AutoTokenizer.from_pretrained(FOLDER)"
    ".save_pretrained(FOLDER) writes it",
  )


def _pad(inner: Any, settings: Path, within: Path | None) -> int:
  """Returns the id for padding, 0 where none is told."""
  if inner.padding:
    return inner.padding["pad_id"]
  if not settings.exists():
    return 0
  token = files.read_json(settings, within).get("pad_token")
  token = token.get("content") if isinstance(token, dict) else token
  known = inner.token_to_id(token) if isinstance(token, str) else None
  return known or 0


def _filled(rows: Sequence[Sequence[int]], value: int) -> np.ndarray:
  """Returns rows of different lengths as int32 `[B, T]`."""
  length = max(map(len, rows), default=0)
  whole = np.full((len(rows), length), value, np.int32)
  for row, numbers in zip(whole, rows, strict=True):
    row[: len(numbers)] = numbers
  return whole

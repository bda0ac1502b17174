"""The tokenizer of a published folder, used as it is."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlcore.errors import UserError
from dlcore.transfer import files, sources

FILE = "tokenizer.json"
SETTINGS = "tokenizer_config.json"
SPECIAL = "special_tokens_map.json"
SIDES = ("left", "right")

SPACES = {
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
"""What `clean_up_tokenization_spaces` replaces, one after the other."""


class Tokenizer:
  """Texts to the arrays that models of text take, and back.

  Attributes:
    inner: the `tokenizers.Tokenizer`, for all that is not here.
    pad: the id that fills short rows.
    side: where they are filled, "left" or "right".
    tidy: whether decoding takes out the spaces before marks, as `SPACES` has
      them.
  """

  def __init__(
    self,
    inner: Any,
    pad: int = 0,
    *,
    side: str = "right",
    tidy: bool = False,
  ):
    self.inner = inner
    self.pad = pad
    self.side = side
    self.tidy = tidy

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
      int32 `[B, T]`, T of the longest: `input_ids`, filled by `pad` at `side`;
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
    left = self.side == "left"
    return {
      "input_ids": _filled([row.ids for row in rows], self.pad, left),
      "attention_mask": _filled([row.attention_mask for row in rows], 0, left),
      "token_type_ids": _filled([row.type_ids for row in rows], 0, left),
    }

  def decode(self, ids: Iterable[Sequence[int]]) -> list[str]:
    """Returns the texts of rows of ids, without special tokens."""
    rows = [[int(one) for one in row] for row in ids]
    texts = self.inner.decode_batch(rows, skip_special_tokens=True)
    return [_tidied(text) for text in texts] if self.tidy else texts

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
  settings = _settings(folder, within)
  return Tokenizer(
    inner,
    _pad(inner, settings),
    side=_side(inner, settings, folder),
    tidy=settings.get("clean_up_tokenization_spaces") is True
    # Of byte pairs the spaces are the text's own; transformers spares them too.
    and type(inner.model).__name__ != "BPE",
  )


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


def _settings(folder: Path, within: Path | None) -> dict[str, Any]:
  """Returns what is told beside a tokenizer, as transformers puts it together.

  The special tokens have a file of their own in older folders, whose settings
  do not list the added tokens.
  """
  path, special = folder / SETTINGS, folder / SPECIAL
  settings = files.read_json(path, within) if path.exists() else {}
  if special.exists() and "added_tokens_decoder" not in settings:
    settings |= files.read_json(special, within)
  return settings


def _pad(inner: Any, settings: Mapping[str, Any]) -> int:
  """Returns the id for padding, 0 where none is told."""
  token = settings.get("pad_token")
  token = token.get("content") if isinstance(token, dict) else token
  known = inner.token_to_id(token) if isinstance(token, str) else None
  if known is None and inner.padding:
    return inner.padding["pad_id"]
  return known or 0


def _side(inner: Any, settings: Mapping[str, Any], folder: Path) -> str:
  """Returns where short rows are filled.

  Raises:
    UserError: the settings name no such side.
  """
  saved = inner.padding["direction"] if inner.padding else "right"
  side = settings.get("padding_side", saved)
  if side not in SIDES:
    raise UserError(
      f"expected a padding_side in {folder / SETTINGS}: {', '.join(SIDES)}",
      f"got {files.shown(side)}",
      "correct the file, or download it again",
    )
  return side


def _filled(
  rows: Sequence[Sequence[int]], value: int, left: bool
) -> np.ndarray:
  """Returns rows of different lengths as int32 `[B, T]`."""
  length = max(map(len, rows), default=0)
  whole = np.full((len(rows), length), value, np.int32)
  for row, numbers in zip(whole, rows, strict=True):
    begin = length - len(numbers) if left else 0
    row[begin : begin + len(numbers)] = numbers
  return whole


def _tidied(text: str) -> str:
  """Returns a text without the spaces that decoding put before marks."""
  for old, new in SPACES.items():
    text = text.replace(old, new)
  return text

"""Tokenizers of bytes, characters and symbols, which need no other package.

Ids 0 to 3 are padding, unknown symbols, and the begin and the end of a text;
those of symbols follow.
"""

import collections
import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

from dlcore.data import json_fields
from dlcore.data.text.framing import Frame

PAD, UNKNOWN, BEGIN, END = range(4)

NUM_SPECIAL = 4
"""Number of the ids above."""

MAX_SYMBOLS = 1 << 20
"""Symbols of a vocabulary."""

MAX_CHARACTERS = 100
"""Characters of a symbol; longer words are unknown."""


class _OwnTokenizer:
  """Special tokens that all tokenizers of this module have."""

  kind: ClassVar[str]
  pad_id: ClassVar[int] = PAD
  unknown_id: ClassVar[int | None] = UNKNOWN
  bos_id: ClassVar[int | None] = BEGIN
  eos_id: ClassVar[int | None] = END
  mask_id: ClassVar[int | None] = None
  special_ids: ClassVar[tuple[int, ...]] = tuple(range(NUM_SPECIAL))

  def frame(self, *, pair: bool) -> Frame:
    """Returns the special tokens around a text, or around a pair."""
    return Frame((BEGIN,), (END,) if pair else (), (END,))


@dataclasses.dataclass(frozen=True)
class ByteTokenizer(_OwnTokenizer):
  """Tokens are the bytes of UTF-8, so that no text is unknown."""

  kind: ClassVar[str] = "bytes"

  lowercase: bool = False
  """Whether texts are converted to lower case first."""

  @property
  def vocab_size(self) -> int:
    """Number of token ids, V."""
    return NUM_SPECIAL + 256

  @classmethod
  def fit(cls, texts: Iterable[str], *, lowercase: bool, **limits: int) -> Self:
    """Returns the tokenizer, which does not depend on `texts`."""
    del texts, limits
    return cls(lowercase)

  def encode(self, text: str) -> list[int]:
    """Returns the ids of a text, without special tokens."""
    text = text.lower() if self.lowercase else text
    return [NUM_SPECIAL + byte for byte in text.encode("utf-8", "replace")]

  def decode(self, ids: Sequence[int]) -> str:
    """Returns the text of ids, without special tokens."""
    content = bytes(i - NUM_SPECIAL for i in ids if i >= NUM_SPECIAL)
    return content.decode("utf-8", "replace")

  def to_json(self) -> dict[str, Any]:
    """Returns the tokenizer as JSON data."""
    return {"kind": self.kind, "lowercase": self.lowercase}

  @classmethod
  def from_json(cls, content: Mapping[str, Any]) -> Self:
    """Returns the tokenizer that `to_json` wrote; see `json_fields`."""
    return cls(json_fields.flag(content["lowercase"]))


@dataclasses.dataclass(frozen=True)
class SymbolTokenizer(_OwnTokenizer):
  """Tokens are symbols that the training texts contain."""

  separator: ClassVar[str]
  """String between the symbols of a decoded text."""

  longest: ClassVar[int]
  """Characters of a symbol, at most."""

  symbols: tuple[str, ...]
  """By id, from 4."""

  lowercase: bool = False
  """Whether texts are converted to lower case first."""

  @property
  def vocab_size(self) -> int:
    """Number of token ids, V."""
    return NUM_SPECIAL + len(self.symbols)

  @functools.cached_property
  def _ids(self) -> dict[str, int]:
    return {s: i for i, s in enumerate(self.symbols, start=NUM_SPECIAL)}

  @classmethod
  def fit(
    cls,
    texts: Iterable[str],
    *,
    vocab_size: int = 0,
    min_count: int = 1,
    lowercase: bool = False,
  ) -> Self:
    """Returns the tokenizer of the most frequent symbols of some texts.

    They are sorted by falling count, then by code point, so that equal texts
    give equal ids.

    Args:
      texts: the training texts.
      vocab_size: largest number of ids, special ones included; 0 for any.
      min_count: least number of occurrences of a symbol.
      lowercase: whether texts are converted to lower case first.
    """
    counts: collections.Counter[str] = collections.Counter()
    for text in texts:
      counts.update(cls.split(text.lower() if lowercase else text))
    kept = [
      symbol
      for symbol, count in counts.items()
      if count >= min_count and len(symbol) <= cls.longest
    ]
    kept.sort(key=lambda symbol: (-counts[symbol], symbol))
    most = vocab_size - NUM_SPECIAL if vocab_size else MAX_SYMBOLS
    return cls(tuple(kept[: min(most, MAX_SYMBOLS)]), lowercase)

  @classmethod
  def split(cls, text: str) -> Iterable[str]:
    """Returns the symbols of a text."""
    raise NotImplementedError

  def encode(self, text: str) -> list[int]:
    """Returns the ids of a text, without special tokens."""
    text = text.lower() if self.lowercase else text
    ids = self._ids
    return [ids.get(symbol, UNKNOWN) for symbol in self.split(text)]

  def decode(self, ids: Sequence[int]) -> str:
    """Returns the text of ids, without special tokens."""
    symbols = [
      "\ufffd" if i == UNKNOWN else self.symbols[i - NUM_SPECIAL]
      for i in ids
      if i == UNKNOWN or NUM_SPECIAL <= i < self.vocab_size
    ]
    return self._joined(symbols)

  def _joined(self, symbols: Sequence[str]) -> str:
    """Returns the text of symbols."""
    return self.separator.join(symbols)

  def to_json(self) -> dict[str, Any]:
    """Returns the tokenizer as JSON data."""
    return {
      "kind": self.kind,
      "lowercase": self.lowercase,
      "symbols": list(self.symbols),
    }

  @classmethod
  def from_json(cls, content: Mapping[str, Any]) -> Self:
    """Returns the tokenizer that `to_json` wrote; see `json_fields`."""
    symbols = json_fields.names(content["symbols"])
    sizes = {len(symbol) for symbol in symbols}
    if len(symbols) > MAX_SYMBOLS or not sizes <= {*range(1, 1 + cls.longest)}:
      raise ValueError(f"{len(symbols):,} symbols of {sizes} characters")
    if len(set(symbols)) < len(symbols):
      raise ValueError("a symbol twice")
    return cls(symbols, json_fields.flag(content["lowercase"]))


@dataclasses.dataclass(frozen=True)
class CharacterTokenizer(SymbolTokenizer):
  """Tokens are code points."""

  kind: ClassVar[str] = "characters"
  separator: ClassVar[str] = ""
  longest: ClassVar[int] = 1

  @classmethod
  def split(cls, text: str) -> Iterable[str]:
    """Returns the characters of a text."""
    return text


@dataclasses.dataclass(frozen=True)
class SpaceTokenizer(SymbolTokenizer):
  """Tokens are separated by spaces: words of a text that is divided already."""

  kind: ClassVar[str] = "spaces"
  separator: ClassVar[str] = " "
  longest: ClassVar[int] = MAX_CHARACTERS

  @classmethod
  def split(cls, text: str) -> Iterable[str]:
    """Returns the tokens of a text."""
    return text.split()

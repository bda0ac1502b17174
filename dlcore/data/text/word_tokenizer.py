"""The tokenizer of words, and the spaces between them."""

import collections
import dataclasses
import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

from dlcore.data import json_fields
from dlcore.data.text.symbol_tokenizers import MAX_CHARACTERS, SymbolTokenizer

UNSPACED = (
  "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer.
  "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Kana, Han.
  "\U00020000-\U0003ffff"
)
"""Ranges of characters of scripts without spaces: each is a word of its own."""

MARKS = (range(0x300, 0x20000), range(0xE0100, 0xE01F0))
"""Code points among which combining marks are."""


@dataclasses.dataclass(frozen=True)
class WordTokenizer(SymbolTokenizer):
  """Tokens are words and marks of punctuation.

  A word is a run of letters and digits with their combining marks. In scripts
  without spaces a character is a word. Spaces are no tokens. A decoded text has
  one between two tokens, except where most occurrences of a mark, or of a
  character of such a script, in the training texts have none.
  """

  kind: ClassVar[str] = "words"
  separator: ClassVar[str] = " "
  longest: ClassVar[int] = MAX_CHARACTERS

  joined_before: tuple[str, ...] = dataclasses.field(default=(), compare=False)
  """Symbols without a space before them, such as a comma."""

  joined_after: tuple[str, ...] = dataclasses.field(default=(), compare=False)
  """Symbols without a space after them, such as "("."""

  @classmethod
  def fit(
    cls, texts: Iterable[str], *, lowercase: bool = False, **limits: int
  ) -> Self:
    """Returns the tokenizer of some texts; see `SymbolTokenizer.fit`."""
    spaces = _Spaces()
    texts = spaces.counted(t.lower() if lowercase else t for t in texts)
    fitted = super().fit(texts, lowercase=lowercase, **limits)
    known = set(fitted.symbols)
    before, after = (
      tuple(sorted(symbol for symbol in part if symbol in known))
      for part in (spaces.joined(0), spaces.joined(1))
    )
    return dataclasses.replace(fitted, joined_before=before, joined_after=after)

  @classmethod
  def split(cls, text: str) -> Iterable[str]:
    """Returns the words and marks of punctuation of a text."""
    return _word_pattern().findall(text)

  def _joined(self, symbols: Sequence[str]) -> str:
    """Returns the text of symbols."""
    before, after = set(self.joined_before), set(self.joined_after)
    pieces: list[str] = []
    for i, symbol in enumerate(symbols):
      if i and symbol not in before and symbols[i - 1] not in after:
        pieces.append(self.separator)
      pieces.append(symbol)
    return "".join(pieces)

  def to_json(self) -> dict[str, Any]:
    """Returns the tokenizer as JSON data."""
    return {
      **super().to_json(),
      "joined_before": list(self.joined_before),
      "joined_after": list(self.joined_after),
    }

  @classmethod
  def from_json(cls, content: Mapping[str, Any]) -> Self:
    """Returns the tokenizer that `to_json` wrote; see `json_fields`."""
    tokenizer = super().from_json(content)
    # Those of earlier versions have neither.
    joined = {
      name: json_fields.names(content.get(name, []))
      for name in ("joined_before", "joined_after")
    }
    return dataclasses.replace(tokenizer, **joined)


class _Spaces:
  """Counts the sides of marks that have no space."""

  def __init__(self):
    self._sides = collections.Counter()
    self._joined = collections.Counter()

  def counted(self, texts: Iterable[str]) -> Iterator[str]:
    """Yields texts, which are counted."""
    pattern = _mark_pattern()
    for text in texts:
      for match in pattern.finditer(text):
        start, end = match.span()
        if start:
          self._count(match[0], 0, text[start - 1])
        if end < len(text):
          self._count(match[0], 1, text[end])
      yield text

  def _count(self, symbol: str, side: int, neighbor: str) -> None:
    self._sides[symbol, side] += 1
    self._joined[symbol, side] += not neighbor.isspace()

  def joined(self, side: int) -> list[str]:
    """Returns the symbols that mostly have no space before or after them.

    Args:
      side: 0 for before, 1 for after.
    """
    counts = self._sides.items()
    return [
      symbol
      for (symbol, at), count in counts
      if at == side and 2 * self._joined[symbol, side] > count
    ]


@functools.lru_cache(maxsize=1)
def _combining_marks() -> str:
  return "".join(
    chr(i)
    for part in MARKS
    for i in part
    if unicodedata.category(chr(i)).startswith("M")
  )


@functools.lru_cache(maxsize=1)
def _mark_pattern() -> re.Pattern[str]:
  """Returns the pattern of the tokens that are not words between spaces."""
  return re.compile(rf"[{UNSPACED}][{_combining_marks()}]*|[^\w\s]")


@functools.lru_cache(maxsize=1)
def _word_pattern() -> re.Pattern[str]:
  """Returns the pattern of a word; `\\w` alone lacks combining marks."""
  marks = _combining_marks()
  letter = rf"[^\W{UNSPACED}]"
  return re.compile(
    rf"[{UNSPACED}][{marks}]*|{letter}(?:{letter}|[{marks}])*|[^\w\s]"
  )

"""Texts on the page: excerpts in which tokens are marked, and lists of them."""

import difflib
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from dlcore.report.markup import Markup, join, tag

MAX_LENGTH = 600
"""Characters of a text that are shown."""

LEAST_SHARE = 0.08
"""Share of the largest relevance from which a token is marked."""

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


class Tokens(NamedTuple):
  """The tokens of a text."""

  ends: np.ndarray
  """Where they end in the text, ascending int `[T]`."""

  relevance: np.ndarray
  """Float `[T]`, positive for the prediction."""


class Piece(NamedTuple):
  """A part of a text."""

  start: int
  stop: int
  share: float
  """Relevance as a share of the largest one, -1 to 1."""

  at: int
  """Position among all tokens."""


class Tag(NamedTuple):
  """The tag of a token."""

  true: str
  """Empty for a token that is not scored."""

  predicted: str


def text_list(rows: Sequence[tuple[Markup, Markup]]) -> Markup:
  """Returns a list of headings and texts."""
  items = [
    tag("div", tag("dt", heading), tag("dd", text, dir="auto"))
    for heading, text in rows
  ]
  return tag("dl", *items, class_="texts")


def text_excerpt(text: str) -> Markup:
  """Returns the beginning of a text."""
  if len(text) <= MAX_LENGTH:
    return join(text)
  return join(text[:MAX_LENGTH], ELLIPSIS)


def marked_excerpt(text: str, tokens: Tokens) -> Markup:
  """Returns the most relevant part of a text, with its tokens marked."""
  pieces = _pieces(text, tokens)
  return _excerpt(text, pieces, lambda word, piece: _mark(word, piece.share))


def tagged_excerpt(text: str, tokens: Tokens, tags: Sequence[Tag]) -> Markup:
  """Returns the part of a text with the most wrong tags, and all its tags.

  Args:
    text: the text.
    tokens: a relevance of 1 for a wrong tag, else 0.
    tags: of the tokens.
  """
  pieces = _pieces(text, tokens)
  return _excerpt(text, pieces, lambda word, piece: _tag(word, tags[piece.at]))


def compared(reference: str, output: str) -> tuple[Markup, Markup]:
  """Returns a reference and an output with the words that differ marked.

  Single words are compared by their characters.
  """
  pair = [text[:MAX_LENGTH] for text in (reference, output)]
  one_word = not any(" " in text.strip() for text in pair)
  sides = [
    [*text] if one_word else re.findall(r"\s+|\S+", text) for text in pair
  ]
  matcher = difflib.SequenceMatcher(None, *sides, autojunk=False)
  marked: tuple[list[object], list[object]] = ([], [])
  for kind, *bounds in matcher.get_opcodes():
    of_reference, of_output = bounds[:2], bounds[2:]
    for parts, side, (start, stop), style in zip(
      marked, sides, (of_reference, of_output), ("right", "wrong"), strict=True
    ):
      text = "".join(side[start:stop])
      word = text.strip()
      before, _, after = text.partition(word) if word else (text, "", "")
      is_marked = word and kind != "equal"
      shown = tag("mark", word, class_=style) if is_marked else word
      parts.append(join(before, shown, after))
  for parts, text in zip(marked, (reference, output), strict=True):
    parts.append(ELLIPSIS if len(text) > MAX_LENGTH else "")
  return join(*marked[0]), join(*marked[1])


def _excerpt(
  text: str, pieces: Sequence[Piece], mark: Callable[[str, Piece], object]
) -> Markup:
  """Returns the most relevant part of a text.

  Args:
    text: the text.
    pieces: its tokens.
    mark: `(the text of a token, token) -> its markup`.
  """
  start, stop = _window(pieces, len(text))
  shown = [p for p in pieces if start <= p.start and p.stop <= stop]
  parts: list[object] = [ELLIPSIS if start else ""]
  at = start
  for piece in shown:
    # A space before a word is not part of it.
    whole = text[piece.start : piece.stop]
    word = piece.stop - len(whole.lstrip())
    parts.append(text[at:word])
    parts.append(mark(text[word : piece.stop], piece))
    at = piece.stop
  parts += [text[at:stop], ELLIPSIS if stop < len(text) else ""]
  return join(*parts)


def _pieces(text: str, tokens: Tokens) -> list[Piece]:
  """Returns the tokens that have a text."""
  ends = np.clip(tokens.ends.astype(int), 0, len(text)).tolist()
  relevance = tokens.relevance.astype(float)
  shares = relevance / max(np.abs(relevance).max(initial=0.0), 1e-300)
  pieces, start = [], 0
  for at, (stop, share) in enumerate(zip(ends, shares.tolist(), strict=True)):
    if stop > start:
      pieces.append(Piece(start, stop, share, at))
      start = stop
  return pieces


def _window(pieces: Sequence[Piece], length: int) -> tuple[int, int]:
  """Returns begin and end of the part with the most relevance."""
  if length <= MAX_LENGTH or not pieces:
    return 0, min(length, MAX_LENGTH)
  best, chosen, last, total = -1.0, (0, MAX_LENGTH), 0, 0.0
  for first, piece in enumerate(pieces):
    while last < len(pieces) and pieces[last].stop <= piece.start + MAX_LENGTH:
      total += abs(pieces[last].share)
      last += 1
    if total > best + 1e-9 and last > first:
      best, chosen = total, (piece.start, pieces[last - 1].stop)
    total -= abs(piece.share) if last > first else 0.0
    last = max(last, first + 1)
  return chosen


def _mark(word: str, share: float) -> object:
  if abs(share) < LEAST_SHARE:
    return word
  style = "toward" if share > 0 else "against"
  return tag("mark", word, class_=style, style=f"--share:{abs(share):.2f}")


def _tag(word: str, own: Tag) -> object:
  """Returns a token above its tag, or above the true and predicted ones."""
  if not own.true:
    return word
  is_right = own.true == own.predicted
  below = own.true if is_right else f"{own.true} → {own.predicted}"
  marked = tag("mark", word, class_="right" if is_right else "wrong")
  return tag("ruby", marked, tag("rt", below))

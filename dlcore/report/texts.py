"""Texts on the page: excerpts in which tokens are marked, and lists of them."""

from collections.abc import Sequence
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
  start, stop = _window(pieces, len(text))
  shown = [p for p in pieces if start <= p.start and p.stop <= stop]
  parts: list[object] = [ELLIPSIS if start else ""]
  at = start
  for piece in shown:
    # A space before a word is not part of it.
    whole = text[piece.start : piece.stop]
    word = piece.stop - len(whole.lstrip())
    parts.append(text[at:word])
    parts.append(_mark(text[word : piece.stop], piece.share))
    at = piece.stop
  parts += [text[at:stop], ELLIPSIS if stop < len(text) else ""]
  return join(*parts)


def _pieces(text: str, tokens: Tokens) -> list[Piece]:
  """Returns the tokens that have a text."""
  ends = np.clip(tokens.ends.astype(int), 0, len(text)).tolist()
  relevance = tokens.relevance.astype(float)
  shares = relevance / max(np.abs(relevance).max(initial=0.0), 1e-300)
  pieces, start = [], 0
  for stop, share in zip(ends, shares.tolist(), strict=True):
    if stop > start:
      pieces.append(Piece(start, stop, share))
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

"""Sequences of token ids of a text, or of a pair, with special tokens."""

from collections.abc import Sequence
from typing import NamedTuple


class Frame(NamedTuple):
  """The special tokens around a text, or around both texts of a pair."""

  before: tuple[int, ...] = ()

  between: tuple[int, ...] = ()
  """Behind the first text of a pair."""

  after: tuple[int, ...] = ()

  @property
  def size(self) -> int:
    """Number of special tokens."""
    return len(self.before) + len(self.between) + len(self.after)


class Framed(NamedTuple):
  """A sequence of token ids."""

  ids: list[int]

  second: int
  """Position of the first token of the second text; without one, the end."""

  full_length: int
  """Number of tokens before truncation."""


def frame_ids(
  first: Sequence[int],
  second: Sequence[int] | None,
  frame: Frame,
  max_length: int = 0,
) -> Framed:
  """Returns one or two texts with special tokens, within `max_length`.

  The ends of texts are cut off. Of a pair, the longer text is cut until both
  are equally long, then both are, as by `longest_first` of transformers.

  Args:
    first: token ids of a text.
    second: those of the second text of a pair, or None.
    frame: the special tokens; `between` is empty without a pair.
    max_length: largest number of tokens, special ones included; 0 for any.
  """
  pair = () if second is None else second
  full_length = len(first) + len(pair) + frame.size
  if max_length and full_length > max_length:
    room = max_length - frame.size
    half = (room + (len(first) > len(pair))) // 2
    kept = min(len(first), max(room - len(pair), half))
    first, pair = first[:kept], pair[: room - kept]
  head = [*frame.before, *first, *frame.between]
  if second is None:
    ids = [*head, *frame.after]
    return Framed(ids, len(ids), full_length)
  return Framed([*head, *pair, *frame.after], len(head), full_length)

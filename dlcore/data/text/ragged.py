"""Sequences of different lengths as flat values and offsets."""

import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

import numpy as np


class Ragged(NamedTuple):
  """N sequences of integers."""

  values: np.ndarray
  """int32, of all sequences one behind the other."""

  offsets: np.ndarray
  """int64 `[N + 1]`: the position of the first value of each, and the end."""

  @classmethod
  def of(cls, rows: Iterable[Sequence[int]]) -> Self:
    """Returns sequences, which are read one by one."""
    values, offsets = array.array("i"), array.array("q", [0])
    for row in rows:
      values.extend(row)
      offsets.append(len(values))
    return cls(
      np.frombuffer(values, np.int32) if values else np.zeros(0, np.int32),
      np.frombuffer(offsets, np.int64),
    )

  @property
  def lengths(self) -> np.ndarray:
    """Number of values of each sequence, int32 `[N]`."""
    return np.diff(self.offsets).astype(np.int32)

  def take(self, rows: np.ndarray) -> Self:
    """Returns some sequences."""
    lengths = np.diff(self.offsets)[rows]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    shifts = np.repeat(self.offsets[rows] - offsets[:-1], lengths)
    values = self.values[shifts + np.arange(offsets[-1])]
    return type(self)(values, offsets)

  def padded(
    self, rows: np.ndarray, length: int, fill: int
  ) -> tuple[np.ndarray, np.ndarray]:
    """Returns some sequences as one array.

    Args:
      rows: positions `[B]`.
      length: T, at least that of each of them.
      fill: value of padding.

    Returns:
      int32 `[B, T]`, and bool `[B, T]`, false for padding.
    """
    starts, ends = self.offsets[rows], self.offsets[np.add(rows, 1)]
    at = starts[:, None] + np.arange(length)
    inside = at < ends[:, None]
    last = max(0, len(self.values) - 1)
    values = self.values[np.minimum(at, last)] if len(self.values) else at
    return np.where(inside, values, fill).astype(np.int32), inside


def join(parts: Sequence[Ragged]) -> Ragged:
  """Returns the sequences of several parts, one behind the other."""
  if len(parts) == 1:
    return parts[0]
  ends = np.cumsum([0, *(part.offsets[-1] for part in parts)])
  offsets = [
    part.offsets[1:] + end for part, end in zip(parts, ends[:-1], strict=True)
  ]
  values = np.concatenate([part.values for part in parts])
  return Ragged(values, np.concatenate([[0], *offsets]))

"""Pairs of similar rows, such as copies of an image, without all similarities.

A block of similarities is in memory at a time, and the most similar pairs of
those before it.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dlcore.representation.nearest_neighbors import ROWS


class SimilarPairs(NamedTuple):
  """Pairs of rows in descending order of their similarity."""

  first: np.ndarray
  """int64 `[P]`."""

  second: np.ndarray
  """int64 `[P]`, larger than `first`."""

  similarity: np.ndarray
  """Cosine similarities, float32 `[P]`."""

  total: int
  """Number of pairs at or above the threshold, at least P."""


def similar_pairs(
  features: np.ndarray, threshold: float = -1.0, limit: int = 10_000
) -> SimilarPairs:
  """Returns the most similar pairs of different rows.

  Args:
    features: unit rows `[N, D]`, see `unit_rows`.
    threshold: least cosine similarity of a pair.
    limit: largest number of pairs that are returned; all are counted.
  """
  kept, total, least = _empty(), 0, threshold
  for top, left, block in _blocks(features):
    total += np.count_nonzero(block >= threshold)
    first, second = np.nonzero(block >= least)
    if not len(first):
      continue
    found = (first + top, second + left, block[first, second])
    parts = zip(kept[:3], found, strict=True)
    kept = _most_similar([np.append(*pair) for pair in parts], limit)
    if len(kept.similarity) == limit:
      least = max(threshold, float(kept.similarity[-1]))
  return kept._replace(total=total)


def _blocks(features: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
  """Yields similarities above the diagonal: first row, first column, block.

  Entries of the other pairs are -inf.
  """
  for top in range(0, len(features), ROWS):
    rows = features[top : top + ROWS]
    for left in range(top, len(features), ROWS):
      block = np.clip(rows @ features[left : left + ROWS].T, -1, 1)
      if left == top:
        block[np.tril_indices(len(block))] = -np.inf
      yield top, left, block


def _most_similar(parts: list[np.ndarray], limit: int) -> SimilarPairs:
  """Returns the most similar pairs; of equal ones the first rows."""
  first, second, similarity = parts
  order = np.lexsort((second, first, -similarity))[:limit]
  return SimilarPairs(first[order], second[order], similarity[order], 0)


def _empty() -> SimilarPairs:
  none = np.zeros(0, np.int64)
  return SimilarPairs(none, none, np.zeros(0, np.float32), 0)

"""Nearest neighbors by cosine similarity, a block of rows at a time."""

from typing import NamedTuple

import numpy as np

ROWS, COLUMNS = 1024, 8192
"""Size of a block of similarities: 32 MiB, whatever the number of rows."""


class Neighbors(NamedTuple):
  """The most similar rows of each query, in descending order."""

  index: np.ndarray
  """int64 `[Q, K]`."""

  similarity: np.ndarray
  """Cosine similarities, float32 `[Q, K]`."""


def unit_rows(features: np.ndarray) -> np.ndarray:
  """Returns rows of norm 1, float32 `[N, D]`; a row of zeros stays zero.

  Rows are divided by their largest value first, so that no square overflows.
  """
  features = np.asarray(features, np.float32)
  largest = np.abs(features).max(1, keepdims=True, initial=0)
  scaled = features / np.where(largest > 0, largest, 1)
  norms = np.linalg.norm(scaled, axis=1, keepdims=True)
  return scaled / np.where(norms > 0, norms, 1)


def nearest_neighbors(
  queries: np.ndarray, features: np.ndarray, count: int
) -> Neighbors:
  """Returns the `count` most similar rows of each query.

  Of rows with equal similarities the first ones come first. Memory is that of a
  block of similarities and of the result.

  Args:
    queries: unit rows `[Q, D]`, see `unit_rows`.
    features: unit rows `[N, D]`.
    count: K, at most N; a larger number is reduced to N.
  """
  count = min(count, len(features))
  found = [
    _block_neighbors(queries[start : start + ROWS], features, count)
    for start in range(0, len(queries), ROWS)
  ]
  if not found:
    shape = (0, count)
    return Neighbors(np.zeros(shape, np.int64), np.zeros(shape, np.float32))
  return Neighbors(*map(np.concatenate, zip(*found, strict=True)))


def _block_neighbors(
  queries: np.ndarray, features: np.ndarray, count: int
) -> Neighbors:
  """Returns the neighbors of a few queries."""
  index = np.zeros((len(queries), 0), np.int64)
  similarity = np.zeros((len(queries), 0), np.float32)
  for start in range(0, len(features), COLUMNS):
    block = queries @ features[start : start + COLUMNS].T
    own = _largest(block, count)
    similarity = np.hstack([similarity, np.take_along_axis(block, own, 1)])
    index = np.hstack([index, own + start])
    kept = _largest(similarity, count)
    similarity = np.take_along_axis(similarity, kept, 1)
    index = np.take_along_axis(index, kept, 1)
  return Neighbors(index, np.clip(similarity, -1, 1))


def _largest(values: np.ndarray, count: int) -> np.ndarray:
  """Returns the columns of the largest values of each row, in that order."""
  if values.shape[1] > count:
    columns = np.argpartition(-values, count - 1, axis=1)[:, :count]
    columns.sort(axis=1)
  else:
    columns = np.broadcast_to(np.arange(values.shape[1]), values.shape)
  chosen = np.take_along_axis(values, columns, 1)
  order = np.argsort(-chosen, axis=1, kind="stable")
  return np.take_along_axis(columns, order, 1)

"""Whole arrays of a source."""

from collections.abc import Collection

import numpy as np

from dlcore.data.source import Source

ROWS = 512
"""Number of examples that are read at a time."""


def read_all(
  source: Source, exclude: Collection[str] = ()
) -> dict[str, np.ndarray]:
  """Returns the arrays `[N, ...]` of a source, by name.

  Args:
    source: the examples.
    exclude: names of arrays to leave out, such as the inputs of the model.
  """
  if source.arrays is not None:
    return {k: a for k, a in source.arrays.items() if k not in exclude}
  pieces = []
  for start in range(0, source.size, ROWS):
    rows = np.arange(start, min(start + ROWS, source.size), dtype=np.int32)
    batch = source.read(rows)
    pieces.append({k: a for k, a in batch.items() if k not in exclude})
  return {k: np.concatenate([part[k] for part in pieces]) for k in pieces[0]}

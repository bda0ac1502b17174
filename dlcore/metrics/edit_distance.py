"""Edit distances of sequences: the errors of recognition and translation."""

import numpy as np


def edit_distance(
  predicted: np.ndarray,
  predicted_lengths: np.ndarray,
  reference: np.ndarray,
  reference_lengths: np.ndarray,
) -> np.ndarray:
  """Returns the least number of insertions, deletions and substitutions.

  All pairs are computed together, row by row of the table of Levenshtein 1966.

  Args:
    predicted: int `[N, T]`; what follows the length of a sequence has no
      effect.
    predicted_lengths: int `[N]`.
    reference: int `[N, S]`.
    reference_lengths: int `[N]`.

  Returns:
    int64 `[N]`.
  """
  size, width = reference.shape
  columns = np.arange(width + 1, dtype=np.int32)
  row = np.tile(columns, (size, 1))  # Distances to an empty prediction.
  distances = np.zeros(size, np.int64)
  for step in range(predicted.shape[1] + 1):
    if step:
      differs = predicted[:, step - 1, None] != reference
      new = np.empty_like(row)
      new[:, 0] = step
      np.minimum(row[:, 1:] + 1, row[:, :-1] + differs, out=new[:, 1:])
      # Insertions: d[j] = min over k <= j of d[k] + (j - k).
      row = np.minimum.accumulate(new - columns, axis=1) + columns
    ends = np.flatnonzero(predicted_lengths == step)
    distances[ends] = row[ends, reference_lengths[ends]]
  return distances

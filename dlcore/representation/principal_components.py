"""A map of features: their first two principal components."""

from typing import NamedTuple

import numpy as np

MAX_ROWS = 2000
"""Rows that determine the axes."""


class Projection(NamedTuple):
  """Points in the plane."""

  points: np.ndarray
  """float32 `[N, 2]`."""

  shares: tuple[float, float]
  """Shares of both axes in the variance of the features."""


def project(features: np.ndarray) -> Projection:
  """Returns the first two principal components, by singular values.

  The axes are those of at most `MAX_ROWS` evenly spaced rows; the shares are
  those of all rows. The largest weight of an axis is positive.

  Args:
    features: finite, `[N, D]`.
  """
  features = np.asarray(features, np.float32)
  # A power of two: the units of features may make squares overflow.
  scale = 2.0 ** np.floor(np.log2(max(np.abs(features).max(), 1e-30)))
  mean = (features / scale).mean(0, dtype=np.float64)
  spaced = np.linspace(0, len(features) - 1, min(len(features), MAX_ROWS))
  sample = features[spaced.astype(int)] / scale - mean
  axes = np.linalg.svd(sample, full_matrices=False)[2][:2]
  axes = np.pad(axes, ((0, 2 - len(axes)), (0, 0)))
  largest = np.abs(axes).argmax(1)
  axes *= np.where(axes[[0, 1], largest] < 0, -1.0, 1.0)[:, None]
  points, total = np.zeros((len(features), 2)), 0.0
  for start in range(0, len(features), MAX_ROWS):
    centered = features[start : start + MAX_ROWS] / scale - mean
    points[start : start + MAX_ROWS] = centered @ axes.T
    total += np.square(centered).sum()
  variances = np.square(points).sum(0)
  first, second = variances / total if total > 0 else (0.0, 0.0)
  points = np.clip(points * scale, -3e38, 3e38)
  return Projection(points.astype(np.float32), (float(first), float(second)))

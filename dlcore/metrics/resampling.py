"""Confidence intervals of metrics by the bootstrap."""

import math
from typing import Any

import numpy as np

from dlcore.metrics.metric_values import Selection
from dlcore.metrics.weighted_sums import Predictions

LEVEL = 0.95
RESAMPLES = 200

MAX_SORTED, MAX_SUMMED = 1 << 24, 1 << 28
"""Numbers of predictions of all resamples, above which metrics of ranks, and
those of sums, have no interval: they would take more than a few seconds."""

MAX_ROWS = 1 << 22
"""Weights of the resamples that are in memory at a time."""


def intervals(
  selection: Selection,
  predictions: Predictions,
  targets: Any,
  weights: np.ndarray,
  *,
  seed: int = 0,
) -> dict[str, tuple[float, float]]:
  """Returns the 95% percentile interval of every metric (Efron 1979).

  The examples of a split are drawn with replacement 200 times. The interval
  covers the choice of these examples, not the seed of training.

  Args:
    selection: the metrics.
    predictions: NumPy arrays `[N, ...]` by name.
    targets: `[N, ...]`.
    weights: of the examples, `[N]`.
    seed: of the resamples.

  Returns:
    `(low, high)` by name, without metrics that are undefined in a resample,
    and those of too many examples.
  """
  size = len(weights)
  random = np.random.default_rng(seed)
  values: dict[str, list[float]] = {}
  total = RESAMPLES * max(np.size(array) for array in predictions.values())
  if total > MAX_SORTED:
    selection = selection._replace(scored={})
  if total > MAX_SUMMED:
    selection = selection._replace(summed={})
  if not (selection.summed or selection.scored):
    return {}
  step = max(1, min(RESAMPLES, MAX_ROWS // size))
  for start in range(0, RESAMPLES, step):
    rows = min(step, RESAMPLES - start)
    counts = [
      np.bincount(random.integers(0, size, size), minlength=size)
      for _ in range(rows)
    ]
    drawn = np.stack(counts) * np.asarray(weights, np.float64)
    sums = selection.sums(predictions, targets, drawn)
    for row in range(rows):
      own = {
        name: (np.asarray(value)[row], np.asarray(count)[row])
        for name, (value, count) in sums.items()
      }
      results = selection.derived(own)
      results |= selection.score(predictions, targets, drawn[row])
      for name, value in results.items():
        values.setdefault(name, []).append(value)
  tails = (100 * (1 - LEVEL) / 2, 100 * (1 + LEVEL) / 2)
  return {
    name: (float(low), float(high))
    for name, resampled in values.items()
    if all(map(math.isfinite, resampled))
    for low, high in [np.percentile(resampled, tails)]
  }

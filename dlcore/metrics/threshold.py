"""The choice of a decision threshold for probabilities."""

from collections.abc import Callable, Mapping

import numpy as np

from dlcore.errors import lookup

Value = Callable[[np.ndarray, np.ndarray, float, float], np.ndarray]
"""`(hits [K], predicted [K], positives, total) -> values [K]`, the counts at
each of K thresholds."""


def _f1(hits, predicted, positives, total):
  del total
  return 2 * hits / np.maximum(predicted + positives, 1e-300)


def _accuracy(hits, predicted, positives, total):
  return (total - positives - predicted + 2 * hits) / total


def _balanced_accuracy(hits, predicted, positives, total):
  negatives = total - positives
  misses = predicted - hits
  recall = hits / max(positives, 1e-300)
  return (recall + 1 - misses / max(negatives, 1e-300)) / 2


CRITERIA: Mapping[str, Value] = {
  "accuracy": _accuracy,
  "balanced_accuracy": _balanced_accuracy,
  "f1": _f1,
}
"""The functions that a threshold may maximize, by name."""

DEFAULT = 0.5


def best_threshold(
  probabilities: np.ndarray,
  positive: np.ndarray,
  weights: np.ndarray | None = None,
  *,
  criterion: str = "f1",
) -> float:
  """Returns the threshold that maximizes a criterion.

  An example is predicted as positive if its probability is at least the
  threshold. Thresholds are in the middle between two probabilities that occur;
  of several that are best, the nearest to 0.5 is returned.

  Args:
    probabilities: `[N]`, of the positive class, of validation examples.
    positive: bool `[N]`.
    weights: of the examples, `[N]`, by default 1.
    criterion: key of `CRITERIA`.

  Returns:
    A float from 0 to 1; 0.5 if all examples are of one class, or a probability
    is not finite.
  """
  function = lookup(CRITERIA, criterion, "criterion of a threshold")
  scores = np.asarray(probabilities, np.float64)
  positive = np.asarray(positive, bool)
  ones = np.ones(len(scores)) if weights is None else weights
  weights = np.asarray(ones, np.float64)
  positives, total = float(weights[positive].sum()), float(weights.sum())
  if not np.isfinite(scores).all() or not 0 < positives < total:
    return DEFAULT
  cuts, hits, predicted = _counts(scores, positive, weights)
  values = function(hits, predicted, positives, total)
  best = np.flatnonzero(values >= values.max() - 1e-12)
  return float(cuts[best[np.argmin(abs(cuts[best] - DEFAULT))]])


def _counts(
  scores: np.ndarray, positive: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns thresholds between the scores, and hits and predictions at each."""
  distinct, group = np.unique(scores, return_inverse=True)
  mine = np.bincount(group, weights * positive)
  every = np.bincount(group, weights)
  cuts = np.concatenate([[distinct[0] / 2], (distinct[1:] + distinct[:-1]) / 2])
  # Of each score and all above it.
  return cuts, np.cumsum(mine[::-1])[::-1], np.cumsum(every[::-1])[::-1]

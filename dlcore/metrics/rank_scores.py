"""Metrics of the ranks of all predictions of a split, on the host.

Functions of NumPy arrays, `(predictions, targets, weights) -> value` as in
`metrics.Metric`. Equal predictions share a rank. A class that has no examples,
or all of them, has no curve: averages leave it out, and the value is NaN if
nothing is left. It is NaN too if a prediction is not finite.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dlcore.metrics.weighted_sums import Predictions

Curve = Callable[[np.ndarray, np.ndarray, np.ndarray], float]
"""`(scores [N], positive bool[N], weights [N]) -> value`."""


def roc_auc(
  scores: np.ndarray, positive: np.ndarray, weights: np.ndarray
) -> float:
  """Returns the area under the ROC curve; NaN without one of the two classes.

  It is the probability that a positive example has the higher score.
  """
  hits, false_alarms = _cumulative(scores, positive, weights)
  if not (hits[-1] > 0 and false_alarms[-1] > 0):
    return math.nan
  area = np.trapezoid(np.r_[0, hits], np.r_[0, false_alarms])
  return float(area / (hits[-1] * false_alarms[-1]))


def average_precision(
  scores: np.ndarray, positive: np.ndarray, weights: np.ndarray
) -> float:
  """Returns the precision averaged over the recall; NaN without positives.

  It is the area under the steps of the precision-recall curve.
  """
  hits, false_alarms = _cumulative(scores, positive, weights)
  if not hits[-1] > 0:
    return math.nan
  found = hits + false_alarms
  precision = np.divide(hits, found, where=found > 0, out=np.zeros_like(hits))
  return float(np.diff(hits, prepend=0) @ precision / hits[-1])


def over_classes(curve: Curve) -> Callable[..., float]:
  """Returns the macro average of `curve`, each class against the others.

  Of two classes it is the value of the second one.
  """

  def score(
    predictions: Predictions, labels: np.ndarray, weights: np.ndarray
  ) -> float:
    scores, labels = predictions["probabilities"], np.asarray(labels)
    count = scores.shape[-1]
    classes = [1] if count == 2 else range(count)
    columns = ((scores[:, c], labels == c) for c in classes)
    return _macro(curve, columns, weights)

  return score


def over_labels(curve: Curve) -> Callable[..., float]:
  """Returns the macro average of `curve` over labels that co-occur."""

  def score(
    predictions: Predictions, labels: np.ndarray, weights: np.ndarray
  ) -> float:
    columns = zip(
      predictions["probabilities"].T, np.asarray(labels).T > 0.5, strict=True
    )
    return _macro(curve, columns, weights)

  return score


def spearman(
  predictions: Predictions, targets: np.ndarray, weights: np.ndarray
) -> float:
  """Returns Spearman's correlation of the ranks; NaN for a constant.

  Examples with a weight of 0 have no rank; the other weights are those of the
  correlation.
  """
  weights = np.asarray(weights, np.float64)
  kept = weights > 0
  pair = (np.asarray(predictions["prediction"]), np.asarray(targets))
  values = [array[kept].astype(np.float64).ravel() for array in pair]
  if not all(np.isfinite(array).all() for array in values):
    return math.nan
  weights = weights[kept] / max(weights.sum(), 1e-300)
  one, other = map(_ranks, values)
  one, other = one - one @ weights, other - other @ weights
  spread = (one**2 @ weights) * (other**2 @ weights)
  return (
    float((one * other) @ weights / math.sqrt(spread)) if spread else math.nan
  )


def _macro(
  curve: Curve,
  columns: Iterator[tuple[Any, Any]],
  weights: np.ndarray,
) -> float:
  """Returns the mean of the curves that are defined."""
  kept = np.asarray(weights) > 0
  weights = np.asarray(weights, np.float64)[kept]
  values = []
  for scores, positive in columns:
    scores = np.asarray(scores)[kept]
    if not np.isfinite(scores).all():
      return math.nan
    if len(scores):
      values.append(curve(scores, np.asarray(positive)[kept], weights))
  defined = [value for value in values if not math.isnan(value)]
  return float(np.mean(defined)) if defined else math.nan


def _cumulative(
  scores: np.ndarray, positive: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the weights of positives and negatives from each score upwards.

  Both are float64, an entry for each distinct score, from the highest on.
  """
  order = np.argsort(-scores, kind="stable")
  last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
  hits = np.cumsum(np.where(positive, weights, 0.0)[order])[last]
  return hits, np.cumsum(np.where(positive, 0.0, weights)[order])[last]


def _ranks(values: np.ndarray) -> np.ndarray:
  """Returns ranks from 1, the mean rank of equal values, float64 `[N]`."""
  _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
  return (np.cumsum(counts) - (counts - 1) / 2)[group]

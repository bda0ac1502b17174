"""Metrics that are functions of the counts of each class.

The counts are those of hits (true positives), predictions and labels, `[C]`.
A class without labels or predictions has no F1 and no recall: averages leave
it out, as those of scikit-learn with `zero_division=nan`. All are NaN if every
class is left out.
"""

from typing import Any

import numpy as np

from dlcore.metrics.weighted_sums import Predictions, pair, ratio
from dlcore.typing import Metrics


def count_classes(
  predictions: Predictions, labels: Any, weights: Any
) -> Metrics:
  """Returns the counts of classes of which each example has one.

  Args:
    predictions: `predicted`, int `[B]`, -1 for a prediction that is not finite;
      and `probabilities` `[B, C]`, for the number of classes.
    labels: int `[B]`.
    weights: `[B]`.
  """
  classes = predictions["probabilities"].shape[-1]
  predicted = one_hot(predictions["predicted"], classes)
  return _counts(predicted, one_hot(labels, classes), weights)


def count_labels(
  predictions: Predictions, labels: Any, weights: Any
) -> Metrics:
  """Returns the counts of labels of which each example has any number.

  Args:
    predictions: `predicted`, bool `[B, C]`.
    labels: `[B, C]`; values above 0.5 are positive.
    weights: `[B]`.
  """
  return _counts(predictions["predicted"], labels > 0.5, weights)


def one_hot(labels: Any, size: int) -> Any:
  """Returns bool `[..., C]`; a label out of range has no class."""
  xp = labels.__array_namespace__()
  return labels[..., None] == xp.arange(size)


def balanced_accuracy(sums: Metrics) -> float:
  """Returns the mean recall of the classes that occur."""
  hits, _, actual = _arrays(sums)
  return _mean(hits, actual)


def macro_f1(sums: Metrics) -> float:
  """Returns the mean F1 of the classes that occur or are predicted."""
  hits, predicted, actual = _arrays(sums)
  return _mean(2 * hits, predicted + actual)


def weighted_f1(sums: Metrics) -> float:
  """Returns the mean F1 of all classes, weighted by their labels."""
  hits, predicted, actual = _arrays(sums)
  present = actual > 0
  scores = 2 * hits[present] / (predicted + actual)[present]
  return ratio(scores @ actual[present], actual.sum())


def micro_f1(sums: Metrics) -> float:
  """Returns the F1 of all labels together."""
  hits, predicted, actual = (array.sum() for array in _arrays(sums))
  return ratio(2 * hits, predicted + actual)


def cohen_kappa(sums: Metrics) -> float:
  """Returns the agreement beyond chance, -1 to 1 (Cohen 1960).

  NaN if the same class has all labels and all predictions.
  """
  hits, predicted, actual = _arrays(sums)
  total = float(actual.sum())
  chance = ratio(predicted @ actual, total**2)
  return ratio(ratio(hits.sum(), total) - chance, 1 - chance)


def _counts(predicted: Any, actual: Any, weights: Any) -> Metrics:
  return {
    "hits": pair(predicted & actual, weights),
    "predicted": pair(predicted, weights),
    "actual": pair(actual, weights),
  }


def _arrays(sums: Metrics) -> list[np.ndarray]:
  """Returns hits, predictions and labels of each class, float64 `[C]`."""
  names = ("hits", "predicted", "actual")
  return [np.asarray(sums[name][0], np.float64) for name in names]


def _mean(values: np.ndarray, counts: np.ndarray) -> float:
  """Returns the mean of `values / counts` over the counts above 0."""
  present = counts > 0
  return ratio((values[present] / counts[present]).sum(), present.sum())

"""Metrics of predicted probabilities: log loss, Brier score, calibration.

Functions of `(predictions, labels)`, with the arrays that `metrics.Metric`
describes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from dlcore.metrics.class_counts import one_hot
from dlcore.metrics.weighted_sums import Predictions, Sums, pair, ratio
from dlcore.typing import Metrics

SMALLEST = float(np.finfo(np.float64).eps)
"""Lower bound of a probability in a logarithm, as in scikit-learn."""

BINS = 10
"""Bins of equal width of the calibration error."""


def class_log_loss(predictions: Predictions, labels: Any) -> Any:
  """Returns the negative log probability of the label, in nats, `[B]`."""
  probabilities = predictions["probabilities"]
  xp = probabilities.__array_namespace__()
  mine = one_hot(labels, probabilities.shape[-1])
  of_label = xp.where(mine, probabilities, 0).sum(-1)
  return -xp.log(xp.clip(of_label, SMALLEST, 1))


def label_log_loss(predictions: Predictions, labels: Any) -> Any:
  """Returns the mean cross-entropy of the C labels, in nats, `[B]`."""
  probabilities = predictions["probabilities"]
  xp = probabilities.__array_namespace__()
  positive = xp.log(xp.clip(probabilities, SMALLEST, 1))
  negative = xp.log(xp.clip(1 - probabilities, SMALLEST, 1))
  return -(labels * positive + (1 - labels) * negative).mean(-1)


def class_brier(predictions: Predictions, labels: Any) -> Any:
  """Returns the Brier score (1950): squared errors of the probabilities, `[B]`.

  It is the sum over the classes, 0 to 2; of two classes the error of one of
  them, 0 to 1.
  """
  probabilities = predictions["probabilities"]
  classes = probabilities.shape[-1]
  errors = (probabilities - one_hot(labels, classes)) ** 2
  return errors[:, 1] if classes == 2 else errors.sum(-1)


def label_brier(predictions: Predictions, labels: Any) -> Any:
  """Returns the mean squared error of the probabilities of C labels, `[B]`."""
  return ((predictions["probabilities"] - labels) ** 2).mean(-1)


def is_in_top(count: int) -> Callable[[Predictions, Any], Any]:
  """Returns the function of whether the label is among the most probable.

  Of two equal probabilities that of the later class is taken as the larger, as
  in scikit-learn.

  Args:
    count: number of classes that are accepted.
  """

  def is_hit(predictions: Predictions, labels: Any) -> Any:
    probabilities = predictions["probabilities"]
    xp = probabilities.__array_namespace__()
    positions = xp.arange(probabilities.shape[-1])
    mine = one_hot(labels, len(positions))
    of_label = xp.where(mine, probabilities, 0).sum(-1)[:, None]
    tied = (probabilities == of_label) & (positions > labels[:, None])
    above = ((probabilities > of_label) | tied).sum(-1)
    return (above < count) & (predictions["predicted"] >= 0)

  return is_hit


def class_calibration(
  predictions: Predictions, labels: Any, weights: Any
) -> Metrics:
  """Returns the sums of the calibration of the most probable class."""
  probabilities = predictions["probabilities"]
  best = probabilities.argmax(-1)
  return _calibration(probabilities.max(-1), best == labels, weights)


def label_calibration(
  predictions: Predictions, labels: Any, weights: Any
) -> Metrics:
  """Returns the sums of the calibration of every label."""
  return _calibration(predictions["probabilities"], labels > 0.5, weights)


def calibration_error(sums: Metrics) -> float:
  """Returns the expected calibration error, 0 to 1 (arXiv:1706.04599).

  It is the distance of the mean probability in a bin from the share of hits,
  weighted by the size of the bin.
  """
  confidence, hits = (
    np.asarray(sums[name][0], np.float64) for name in ("confidence", "hits")
  )
  return ratio(np.abs(confidence - hits).sum(), sums["hits"][1])


def _calibration(probability: Any, hit: Any, weights: Any) -> Metrics:
  """Returns the sums of probabilities and hits in each bin, `[BINS]`.

  Args:
    probability: `[B]`, or `[B, C]` of C labels that count 1 / C each.
    hit: bool, of the same shape.
    weights: `[B]`.
  """
  xp = probability.__array_namespace__()
  # A NaN has no bin, and makes all sums NaN.
  bins = (xp.where(probability > 0, probability, 0) * BINS).astype("int32")
  members = xp.clip(bins, 0, BINS - 1)[..., None] == xp.arange(BINS)
  rows = (len(weights.T), -1, BINS)
  return {
    name: pair((members * values[..., None]).reshape(rows).mean(1), weights)
    for name, values in (("confidence", probability), ("hits", hit))
  }


ECE_OF_CLASSES = Sums(class_calibration, calibration_error)
ECE_OF_LABELS = Sums(label_calibration, calibration_error)

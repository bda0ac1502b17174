"""Metrics of predicted numbers, as sums over examples.

Functions of `(predictions, targets)`, with the arrays that `metrics.Metric`
describes.
"""

import math
from typing import Any

import numpy as np

from dlcore.metrics.weighted_sums import (
  Predictions,
  Sums,
  mean_of,
  pair,
  ratio,
)
from dlcore.typing import Metrics

SMALLEST = float(np.finfo(np.float64).eps)
"""Lower bound of a target that divides an error, as in scikit-learn."""


def absolute_error(predictions: Predictions, targets: Any) -> Any:
  """Returns `|prediction - target|`, `[B]`."""
  return abs(predictions["prediction"] - targets)


def percentage_error(predictions: Predictions, targets: Any) -> Any:
  """Returns `|prediction - target| / |target|`, `[B]`, a share.

  Args:
    predictions: with `offset`, a number to add to targets whose zero was moved.
    targets: `[B]`.
  """
  xp = targets.__array_namespace__()
  size = abs(targets + predictions.get("offset", 0.0))
  return absolute_error(predictions, targets) / xp.maximum(size, SMALLEST)


def squared_error(predictions: Predictions, targets: Any) -> Any:
  """Returns `(prediction - target) ** 2`, `[B]`."""
  return (predictions["prediction"] - targets) ** 2


def explained_squares(
  predictions: Predictions, targets: Any, weights: Any
) -> Metrics:
  """Returns the sums of squared errors, and of the targets' first two powers.

  Args:
    predictions: with `center` and `scale`, numbers near the mean of the targets
      and their deviation: sums of squares in float32 keep their digits so.
    targets: `[B]`.
    weights: `[B]`.
  """
  scale = predictions.get("scale", 1.0)
  centered = (targets - predictions.get("center", 0.0)) / scale
  errors = (predictions["prediction"] - targets) / scale
  return {
    "error": pair(errors**2, weights),
    "target": pair(centered, weights),
    "square": pair(centered**2, weights),
  }


def r_squared(sums: Metrics) -> float:
  """Returns the share of the variance that is explained, at most 1.

  NaN if all targets are equal.
  """
  variance = ratio(*sums["square"]) - ratio(*sums["target"]) ** 2
  if not variance > 0:
    return math.nan
  return 1 - ratio(*sums["error"]) / variance


RMSE = Sums(
  mean_of(squared_error).sums, lambda sums: math.sqrt(ratio(*sums["mean"]))
)
R2 = Sums(explained_squares, r_squared)

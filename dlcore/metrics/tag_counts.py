"""Counts of the classes of tokens, for each sequence of tokens.

The sums are over sequences, so that their weights, and their resamples for an
interval, keep the tokens of a sequence together.
"""

from typing import Any

from dlcore.metrics.class_counts import one_hot
from dlcore.metrics.weighted_sums import Predictions, pair, ratio
from dlcore.typing import Metrics


def count_tags(predictions: Predictions, labels: Any, weights: Any) -> Metrics:
  """Returns the counts of the classes of all scored tokens.

  Args:
    predictions: `predicted`, int `[B, T]` or `[B, 1]`, negative for no class;
      and optionally `num_classes`, by default one more than the largest class.
    labels: int `[B, T]`, negative for tokens that are not scored.
    weights: `[B]`.
  """
  predicted, scored = predictions["predicted"], labels >= 0
  size = predictions.get("num_classes")
  if size is None:
    size = 1 + int(max(predicted.max(), labels.max(), 0))
  found = one_hot(predicted, size) & scored[..., None]
  actual = one_hot(labels, size)
  return {
    "hits": pair((found & actual).sum(1), weights),
    "predicted": pair(found.sum(1), weights),
    "actual": pair(actual.sum(1), weights),
  }


def count_right(predictions: Predictions, labels: Any, weights: Any) -> Metrics:
  """Returns the counts of scored tokens and of those that are right.

  See `count_tags` for the arguments.
  """
  scored = labels >= 0
  right = (predictions["predicted"] == labels) & scored
  return {
    "right": pair(right.sum(1), weights),
    "scored": pair(scored.sum(1), weights),
  }


def count_right_sequences(
  predictions: Predictions, labels: Any, weights: Any
) -> Metrics:
  """Returns the counts of sequences with scored tokens, and of right ones.

  See `count_tags` for the arguments.
  """
  scored = labels >= 0
  right = (predictions["predicted"] == labels) | ~scored
  any_scored = scored.any(1)
  return {
    "right": pair(right.all(1) & any_scored, weights),
    "scored": pair(any_scored, weights),
  }


def share_right(sums: Metrics) -> float:
  """Returns the share of those that are right."""
  return ratio(sums["right"][0], sums["scored"][0])

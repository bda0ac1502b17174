"""Metrics by name, and the (sum, count) pairs that they are made of.

`METRICS` has a row for each name. `select` turns some names into functions that
a task calls.
"""

from dlcore.metrics.entity_scores import are_entity_tags, entity_scores
from dlcore.metrics.metric_table import (
  CLASSES,
  LABELS,
  METRICS,
  NUMBERS,
  Measure,
  Metric,
)
from dlcore.metrics.metric_values import Selection, select
from dlcore.metrics.reduction import (
  compute,
  f1,
  mean,
  total,
  weighted,
  weights,
)
from dlcore.metrics.resampling import intervals
from dlcore.metrics.threshold import best_threshold
from dlcore.metrics.weighted_sums import Predictions, Sums, mean_of

__all__ = [
  "CLASSES",
  "LABELS",
  "METRICS",
  "NUMBERS",
  "Measure",
  "Metric",
  "Predictions",
  "Selection",
  "Sums",
  "are_entity_tags",
  "best_threshold",
  "compute",
  "entity_scores",
  "f1",
  "intervals",
  "mean",
  "mean_of",
  "select",
  "total",
  "weighted",
  "weights",
]

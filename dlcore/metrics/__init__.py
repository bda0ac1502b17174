"""Metrics by name, and the (sum, count) pairs that they are made of.

`METRICS` has a row for each name. `select` turns some names into functions that
a task calls.
"""

from dlcore.metrics.edit_distance import edit_distance
from dlcore.metrics.entity_scores import are_entity_tags, entity_scores
from dlcore.metrics.metric_table import (
  CLASSES,
  LABELS,
  METRICS,
  NUMBERS,
  TAGS,
  Measure,
  Metric,
)
from dlcore.metrics.metric_values import Selection, select
from dlcore.metrics.proportion import wilson_interval
from dlcore.metrics.reduction import (
  compute,
  f1,
  mean,
  total,
  weighted,
  weights,
)
from dlcore.metrics.resampling import intervals
from dlcore.metrics.sequence_scores import (
  Sequences,
  error_rates,
  grouped_texts,
  least_errors,
  words_as_ids,
)
from dlcore.metrics.threshold import best_threshold
from dlcore.metrics.translation_scores import (
  TRANSLATION,
  check_translation,
  translation_scores,
)
from dlcore.metrics.weighted_sums import Predictions, Sums, mean_of

__all__ = [
  "CLASSES",
  "LABELS",
  "METRICS",
  "NUMBERS",
  "TAGS",
  "TRANSLATION",
  "Measure",
  "Metric",
  "Predictions",
  "Selection",
  "Sequences",
  "Sums",
  "are_entity_tags",
  "best_threshold",
  "check_translation",
  "compute",
  "edit_distance",
  "entity_scores",
  "error_rates",
  "f1",
  "grouped_texts",
  "intervals",
  "least_errors",
  "mean",
  "mean_of",
  "select",
  "total",
  "translation_scores",
  "weighted",
  "weights",
  "wilson_interval",
  "words_as_ids",
]

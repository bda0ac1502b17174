"""The metrics by name.

A metric of one's own is another row, such as
`METRICS["hits"] = Metric(classes=mean_of(lambda predictions, labels: ...))`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from dlcore.metrics import (
  class_counts,
  number_errors,
  probability_errors,
  rank_scores,
  tag_counts,
)
from dlcore.metrics.class_counts import count_classes, count_labels
from dlcore.metrics.rank_scores import over_classes, over_labels
from dlcore.metrics.tag_counts import count_tags, share_right
from dlcore.metrics.weighted_sums import Predictions, Sums, mean_of

CLASSES, LABELS, NUMBERS, TAGS = "classes", "labels", "numbers", "tags"
"""The kinds of predictions, the fields of `Metric`."""

Score = Callable[[Predictions, Any, Any], float]
"""`(predictions, targets, weights [N]) -> value`, on the host in NumPy: a
metric that needs all predictions of a split at once."""

Measure = Sums | Score


class Metric(NamedTuple):
  """How a metric is measured, for each kind of predictions that it has.

  Its functions receive `predictions`, arrays by name, `targets`, and `weights`
  float `[B]`, 0 for padding. A metric is either `Sums`, or a function of all
  predictions.
  """

  classes: Measure | None = None
  """One class of C: `probabilities` `[B, C]` and the class `predicted`, int
  `[B]`, -1 if they are not finite; targets int `[B]`."""

  labels: Measure | None = None
  """Any number of C labels: `probabilities` `[B, C]` and `predicted`, bool
  `[B, C]`; targets `[B, C]`."""

  numbers: Measure | None = None
  """A number: `prediction` `[B]` in units of the target, and the numbers
  `center`, `scale` and `offset`, see `number_errors`; targets `[B]`."""

  tags: Measure | None = None
  """One class of C for each token: the class `predicted`, int `[B, T]`, and the
  number `num_classes`, see `tag_counts`; targets int `[B, T]`, -100 for tokens
  that are not scored."""


def _counted(value: Callable[[Any], float], *, labels: bool = True) -> Metric:
  """Returns a metric of the counts of classes, also of labels or not."""
  return Metric(
    classes=Sums(count_classes, value),
    labels=Sums(count_labels, value) if labels else None,
    tags=Sums(count_tags, value),
  )


def _ranked(curve: rank_scores.Curve) -> Metric:
  """Returns the macro average of a curve."""
  return Metric(classes=over_classes(curve), labels=over_labels(curve))


def _is_right(predictions: Predictions, targets: Any) -> Any:
  return predictions["predicted"] == targets


def _share_right(predictions: Predictions, targets: Any) -> Any:
  right = predictions["predicted"] == (targets > 0.5)
  return right.astype(targets.dtype).mean(-1)


def _all_right(predictions: Predictions, targets: Any) -> Any:
  return (predictions["predicted"] == (targets > 0.5)).all(-1)


LOG_LOSS = Metric(
  classes=mean_of(probability_errors.class_log_loss),
  labels=mean_of(probability_errors.label_log_loss),
)

METRICS: dict[str, Metric] = {
  "accuracy": Metric(
    classes=mean_of(_is_right),
    labels=mean_of(_share_right),
    tags=Sums(tag_counts.count_right, share_right),
  ),
  "average_precision": _ranked(rank_scores.average_precision),
  "balanced_accuracy": _counted(class_counts.balanced_accuracy, labels=False),
  "brier": Metric(
    classes=mean_of(probability_errors.class_brier),
    labels=mean_of(probability_errors.label_brier),
  ),
  "ece": Metric(
    classes=probability_errors.ECE_OF_CLASSES,
    labels=probability_errors.ECE_OF_LABELS,
  ),
  "exact_match": Metric(labels=mean_of(_all_right)),
  "f1_macro": _counted(class_counts.macro_f1),
  "f1_micro": _counted(class_counts.micro_f1),
  "f1_weighted": _counted(class_counts.weighted_f1),
  "kappa": _counted(class_counts.cohen_kappa, labels=False),
  "log_loss": LOG_LOSS,
  "loss": LOG_LOSS,  # Of the tasks of classes and of labels.
  "mae": Metric(numbers=mean_of(number_errors.absolute_error)),
  "mape": Metric(numbers=mean_of(number_errors.percentage_error)),
  "r2": Metric(numbers=number_errors.R2),
  "rmse": Metric(numbers=number_errors.RMSE),
  "roc_auc": _ranked(rank_scores.roc_auc),
  "sequence_accuracy": Metric(
    tags=Sums(tag_counts.count_right_sequences, share_right)
  ),
  "spearman": Metric(numbers=rank_scores.spearman),
  "top_5_accuracy": Metric(classes=mean_of(probability_errors.is_in_top(5))),
}
"""The metrics by name; names of `task.metrics` and `training.best_by`."""

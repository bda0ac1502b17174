"""How metrics are shown: order, title and format by name, and the default."""

import math
from typing import NamedTuple

from dlcore.report import markup


class Display(NamedTuple):
  """How a metric is shown."""

  title: str
  percent: bool = False
  """Whether values from -1 to 1 are shown as percentages."""


METRICS = {
  "entity_f1": Display("entity F1", percent=True),
  "token_error_rate": Display("token error rate", percent=True),
  "accuracy": Display("accuracy", percent=True),
  "masked_accuracy": Display("masked accuracy", percent=True),
  "f1": Display("F1", percent=True),
  "r2": Display("R\N{SUPERSCRIPT TWO}"),
  "rmse": Display("RMSE"),
  "mae": Display("MAE"),
  "mse": Display("MSE"),
  "bits_per_character": Display("bits per character"),
  "bits_per_byte": Display("bits per byte"),
  "perplexity": Display("perplexity"),
  "loss": Display("loss"),
  "precision": Display("precision", percent=True),
  "recall": Display("recall", percent=True),
  "entity_precision": Display("entity precision", percent=True),
  "entity_recall": Display("entity recall", percent=True),
  "word_error_rate": Display("word error rate", percent=True),
  "bleu": Display("BLEU"),
  "chrf": Display("chrF"),
  "ter": Display("TER"),
  "sequence_accuracy": Display("sequence accuracy", percent=True),
  "balanced_accuracy": Display("balanced accuracy", percent=True),
  "f1_macro": Display("macro F1", percent=True),
  "f1_micro": Display("micro F1", percent=True),
  "f1_weighted": Display("weighted F1", percent=True),
  "roc_auc": Display("ROC AUC"),
  "average_precision": Display("average precision"),
  "kappa": Display("Cohen's kappa"),
  "spearman": Display("Spearman correlation"),
  "mape": Display("MAPE", percent=True),
  "recall_at_1": Display("recall at 1", percent=True),
  "recall_at_10": Display("recall at 10", percent=True),
  "mrr": Display("mean reciprocal rank"),
  "exact_match": Display("exact match", percent=True),
  "top_5_accuracy": Display("top-5 accuracy", percent=True),
  "log_loss": Display("log loss"),
  "brier": Display("Brier score"),
  "ece": Display("calibration error", percent=True),
}
"""By name. The first that a run has is its main metric; a metric that is not
listed is a number with four digits, or a percentage if it is an accuracy."""


LOWER_IS_BETTER = frozenset(
  (
    *("loss", "log_loss", "brier", "ece", "mae", "mse", "rmse", "mape"),
    *("perplexity", "bits_per_character", "bits_per_byte"),
    *("word_error_rate", "token_error_rate", "ter"),
  )
)
"""Metrics of which less is better."""


def less_is_better(name: str, best_by: str = "") -> bool:
  """Returns whether less is better.

  Args:
    name: of the metric.
    best_by: the setting `training.best_by`, which decides if it names the
      metric. Loss is its default.
  """
  if name != "loss" and best_by.removeprefix("-") == name:
    return best_by.startswith("-")
  return name in LOWER_IS_BETTER


def display(name: str) -> Display:
  """Returns how the metric of that name is shown."""
  default = Display(markup.humanize(name), percent="accuracy" in name)
  return METRICS.get(name, default)


def rank(name: str) -> int:
  """Returns the position of a metric by importance, 0 first."""
  return [*METRICS, name].index(name)


def format_metric(name: str, value: float, digits: int = 2) -> str:
  """Returns the value of a metric: `98.89%` or `0.3124`."""
  if display(name).percent and math.isfinite(value) and abs(value) <= 1:
    return f"{100 * value:.{digits}f}%"
  return markup.format_number(value)

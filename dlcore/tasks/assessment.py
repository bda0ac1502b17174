"""Scores of a split in their context: trivial answer, interval, warnings.

All of it is computed on the host from the predictions of a split.
"""

import math
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import numpy as np

from dlcore import metrics
from dlcore.data import DataInfo
from dlcore.data.source import Arrays
from dlcore.metrics import METRICS, Predictions, Selection

MAX_NAMES = 5
"""Number of classes that a warning lists."""


class Trivial(NamedTuple):
  """The answer that does not look at the input."""

  description: str
  """Such as `"always 'cat'"`."""

  prediction: Predictions
  """The predictions of one example, as in `metrics.Metric` without `[B]`."""


class Assessable(NamedTuple):
  """How the predictions of a kind of task are assessed."""

  kind: str
  """Of the predictions: `metrics.CLASSES`, `LABELS`, `NUMBERS` or `TAGS`."""

  target: str
  """Name of the array that is predicted."""

  predictions: Callable[[Arrays], Predictions]
  """`rows of Task.predict` -> the predictions of `metrics.Metric`."""

  trivial: Callable[[DataInfo], Trivial | None]
  """The best constant answer by the statistics of train; None if they are
  unknown."""


class Assessment(NamedTuple):
  """The context of the scores of a split."""

  trivial: Mapping[str, float]
  """Value of the trivial answer for each metric that it has."""

  intervals: Mapping[str, tuple[float, float]]
  """The 95% interval of each metric, see `metrics.intervals`."""

  trivial_answer: str
  """Description of the trivial answer, empty without one."""

  warnings: tuple[str, ...]
  """Sentences for the user."""


class TrivialScores(NamedTuple):
  """The scores of the trivial answer on a split."""

  answer: str
  """Its description, such as `"always 'cat'"`; empty if it is unknown."""

  values: dict[str, float]
  """By metric, without those that are not finite."""


def assess(
  assessable: Assessable,
  names: Collection[str],
  rows: Arrays,
  targets: Arrays,
  info: DataInfo,
) -> Assessment:
  """Assesses the scores of a split.

  Args:
    assessable: of the kind of task.
    names: of the metrics; those that `METRICS` lacks are left out.
    rows: predictions `[N, ...]`, of `Task.predict`.
    targets: the other arrays of the split.
    info: of train.
  """
  target = targets[assessable.target]
  if assessable.kind == metrics.NUMBERS:
    target = target.ravel()  # It may be [N, 1].
  selection = metrics.select(_known(names, assessable), assessable.kind)
  weights = row_weights(targets, len(target))
  predictions = assessable.predictions(rows)
  answer, trivial = trivial_scores(assessable, names, targets, info)
  return Assessment(
    trivial=trivial,
    intervals=metrics.intervals(selection, predictions, target, weights),
    trivial_answer=answer,
    warnings=_warnings(assessable, predictions, target, info),
  )


def trivial_scores(
  assessable: Assessable,
  names: Collection[str],
  targets: Arrays,
  info: DataInfo,
) -> TrivialScores:
  """Returns the scores of the best constant answer by the statistics of train.

  Args:
    assessable: of the kind of task.
    names: of the metrics; those that `METRICS` lacks for the kind are left out.
    targets: the arrays of the split other than its inputs.
    info: of train.
  """
  trivial, known = assessable.trivial(info), _known(names, assessable)
  if trivial is None or not known or assessable.target not in targets:
    return TrivialScores("", {})
  target = targets[assessable.target]
  if assessable.kind == metrics.NUMBERS:
    target = target.ravel()  # It may be [N, 1].
  constant = of_each_example(trivial.prediction, len(target))
  weights = row_weights(targets, len(target))
  selection = metrics.select(known, assessable.kind)
  values = selection.values(constant, target, weights)
  finite = {name: v for name, v in values.items() if math.isfinite(v)}
  return TrivialScores(trivial.description, finite)


def _known(names: Collection[str], assessable: Assessable) -> list[str]:
  """Returns the names in `METRICS` that suit the kind of predictions."""
  kind = assessable.kind
  return [n for n in names if getattr(METRICS.get(n), kind, None) is not None]


def _warnings(
  assessable: Assessable,
  predictions: Predictions,
  target: np.ndarray,
  info: DataInfo,
) -> tuple[str, ...]:
  """Returns the warnings about the predictions of a split."""
  if assessable.kind != metrics.TAGS:
    return never_predicted(predictions, target, info)
  scored = target >= 0
  tokens = {"predicted": predictions["predicted"][scored]}
  return never_predicted(tokens, target[scored], info, of_tokens=True)


def never_predicted(
  predictions: Predictions,
  target: np.ndarray,
  info: DataInfo,
  *,
  of_tokens: bool = False,
) -> tuple[str, ...]:
  """Returns a warning about the classes that occur and are never predicted.

  Args:
    predictions: of a split.
    target: its labels, `[N]`, or `[N, C]` of labels that co-occur.
    info: of train.
    of_tokens: whether each label is that of a token.
  """
  if "predicted" not in predictions or not info.schema.classes:
    return ()
  predicted = predictions["predicted"]
  if predicted.ndim == 1:
    positions = np.arange(len(info.schema.classes))
    predicted = predicted[:, None] == positions
    target = target[:, None] == positions
  actual, found = (target > 0.5).sum(0), predicted.sum(0)
  missing = np.flatnonzero((actual > 0) & (found == 0)).tolist()
  if not missing:
    return ()
  listed = [
    f"{info.schema.classes[c]!r} ({actual[c] / len(target):.1%})"
    for c in missing[:MAX_NAMES]
  ]
  more = (
    f" and {len(missing) - MAX_NAMES} others" if missing[MAX_NAMES:] else ""
  )
  unit, other = "examples", ' or tune_thresholds="f1"'
  if of_tokens:
    unit, other = "tokens", ""
  return (
    f"never predicted: {', '.join(listed)}{more} of the {unit}; try "
    f'class_weights="balanced"{other}',
  )


def of_each_example(prediction: Predictions, size: int) -> Predictions:
  """Returns the predictions of `size` examples that have the same one.

  Numbers that describe the target, such as `center`, stay as they are.
  """
  return {
    name: np.broadcast_to(value, (size, *value.shape))
    if isinstance(value, np.ndarray)
    else value
    for name, value in prediction.items()
  }


def row_weights(targets: Arrays, size: int) -> np.ndarray:
  """Returns the row weights of a split, float64 `[N]`; ones without any."""
  return np.asarray(targets.get("weight", np.ones(size)), np.float64)


def score_function(
  selection: Selection,
  predictions: Callable[[Arrays], Predictions],
  target: str,
  *,
  flat: bool = False,
) -> Callable[[Arrays, Arrays], dict[str, float]] | None:
  """Returns `Task.score` of the metrics of all predictions; None without any.

  Args:
    selection: the metrics.
    predictions: rows of `Task.predict` -> the predictions of `metrics.Metric`.
    target: name of the array that is predicted.
    flat: whether the target `[N, 1]` is one of numbers `[N]`.
  """
  if not selection.scored:
    return None

  def score(rows: Arrays, targets: Arrays) -> dict[str, float]:
    truth = targets[target].ravel() if flat else targets[target]
    weights = row_weights(targets, len(truth))
    return selection.score(predictions(rows), truth, weights)

  return score

"""Multi-label classification: any number of C labels for every example."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlcore import losses, report_arrays
from dlcore.data import DataInfo
from dlcore.data.info import Normalization
from dlcore.data.source import Arrays
from dlcore.errors import UserError
from dlcore.metrics import LABELS, select
from dlcore.task import Task
from dlcore.tasks import class_decisions, supervised
from dlcore.tasks.assessment import Assessable, Trivial, score_function
from dlcore.tasks.class_loss import check_not_negative
from dlcore.tasks.class_weights import resolve_weights, weight_array
from dlcore.tasks.kind import INPUT_ARGUMENTS, TaskKind
from dlcore.typing import Array, Batch, Metrics

STANDARD = ("loss", "accuracy", "f1_micro")
"""The metrics that are always measured."""


def multilabel(
  model: Any,
  *,
  input: str = "features",  # noqa: A002  the name of the array in the batch
  normalization: Normalization | None = None,
  class_weights: Sequence[float] | str = (),
  class_counts: Sequence[int] = (),
  size: int = 0,
  focal_gamma: Array | float = 0.0,
  thresholds: Sequence[float] = (),
  tune_thresholds: str = "",
  metrics: Sequence[str] = (),
) -> Task:
  """Returns the task of predicting which of C labels an example has.

  The training loss is the mean of the C (weighted, focal) cross-entropies of
  the sigmoids; the metrics are the plain cross-entropy `loss` in nats, the
  `accuracy`, which is the share of labels that are right, and the micro F1.

  Args:
    model: `apply(variables, inputs, train=...) -> logits [B, C]`.
    input: as in `classification`, with the next one.
    normalization: of the input.
    class_weights: weight of the loss of each label where an example has it;
      empty for 1, `"balanced"` for the number of examples without the label
      over that with it.
    class_counts: number of examples of train with each label, for
      `"balanced"`.
    size: number of examples of train.
    focal_gamma: as in `classification`, with the next three.
    thresholds: the least probability of a predicted label: of each label, or
      one for all; empty for 0.5.
    tune_thresholds: criterion of the threshold of each label.
    metrics: names of further metrics, see `metrics.METRICS`.

  Returns:
    A task whose batches hold the input and `label`, 0 or 1 `[B, C]`. Its
    `predict` returns `{"probabilities": float32 [B, C], "predicted": bool [B,
    C]}`.

  Raises:
    UserError: a setting is out of range.
  """
  check_not_negative("focal_gamma", focal_gamma)
  limits = class_decisions.check_thresholds(thresholds, tune_thresholds, None)
  positive_weights = resolve_weights(class_weights, class_counts, size)
  selection = select(("f1_micro", *metrics), LABELS, exclude=STANDARD[:2])

  def loss(logits: Array, batch: Batch) -> Array:
    labels = _labels(batch, logits)
    values = losses.sigmoid_cross_entropy(logits, labels)
    factors = losses.focal_factor(values, focal_gamma)
    if positive_weights:
      by_class = weight_array(positive_weights, logits.shape[-1])
      factors = factors * (1 + labels * (by_class - 1))
    return (factors * values).mean(-1)

  def measure(logits: Array, batch: Batch) -> dict[str, Array]:
    labels = _labels(batch, logits)
    right = predict(logits)["predicted"] == (labels > 0.5)
    values = losses.sigmoid_cross_entropy(logits, labels)
    return {"loss": values.mean(-1), "accuracy": right.mean(-1)}

  def predict(logits: Array) -> dict[str, Array]:
    probabilities = jax.nn.sigmoid(logits.astype(jnp.float32))
    class_decisions.check_thresholds(limits, "", logits.shape[-1])
    predicted = class_decisions.decide_labels(probabilities, limits)
    return {"probabilities": probabilities, "predicted": predicted}

  def sums(logits: Array, batch: Batch, weights: Array) -> Metrics:
    return selection.sums(predict(logits), _labels(batch, logits), weights)

  return supervised.make_task(
    model,
    input=input,
    loss=loss,
    metrics=measure,
    predict=predict,
    normalization=normalization,
    sums=sums,
    derived=selection.derived,
    score=score_function(selection, dict, "label"),
  )


def _labels(batch: Batch, logits: Array) -> Array:
  """Returns the labels float32 `[B, C]`; those of mixed images are shares."""
  labels = batch["label"]
  if labels.shape != logits.shape:
    raise UserError(
      f"expected a label [B, C] of {logits.shape[-1]} columns",
      f"got labels of shape {list(labels.shape)}",
    )
  labels = labels.astype(jnp.float32)
  if "partner_label" not in batch:
    return labels
  share = batch["share"][:, None]
  return share * labels + (1 - share) * batch["partner_label"]


def _trivial(info: DataInfo) -> Trivial | None:
  """Returns the share of each label in train."""
  if not info.class_counts:
    return None
  shares = np.asarray(info.class_counts, np.float32) / info.size
  frequent = [
    name
    for name, share in zip(info.schema.classes, shares, strict=True)
    if share >= class_decisions.DEFAULT
  ]
  return Trivial(
    f"always {', '.join(frequent) or 'no label'}",
    {"probabilities": shares, "predicted": shares >= class_decisions.DEFAULT},
  )


def _check_data(info: DataInfo) -> None:
  if not info.schema.multilabel or info.schema.target != "label":
    raise UserError(
      "expected data with an array 'label' [N, C] of several labels",
      f"got {info.name!r}, whose target is {info.schema.target!r}",
      "choose another task, or pass multilabel=True to the data",
    )


def _to_json(row: Arrays, info: DataInfo) -> dict[str, Any]:
  named = zip(info.schema.classes, row["predicted"], strict=True)
  values = map(float, row["probabilities"])
  return {
    "labels": [name for name, predicted in named if predicted],
    "probabilities": dict(zip(info.schema.classes, values, strict=True)),
  }


def _report_arrays(
  split: str,
  rows: Arrays,
  targets: Arrays,
  info: DataInfo,
  read: report_arrays.Read,
) -> Arrays:
  """Returns scores by label, and the examples with the most wrong labels."""
  predicted, actual = rows["predicted"], targets["label"] > 0.5
  names = np.array(info.schema.classes)
  hits = (predicted & actual).sum(0)
  wrong = (predicted != actual).sum(1)
  words = {
    name: np.array([", ".join(names[row]) for row in table], str)
    for name, table in (("label", actual), ("prediction", predicted))
  }
  worst = np.argsort(-wrong, kind="stable")[: (wrong > 0).sum()]
  with np.errstate(invalid="ignore"):
    scores = {
      "by_class/examples": actual.sum(0),
      "by_class/precision": hits / predicted.sum(0),
      "by_class/recall": hits / actual.sum(0),
    }
  return {
    "split": np.asarray(split),
    **scores,
    "histogram/wrong labels of an example": wrong,
    **report_arrays.worst_examples(words, worst, read),
  }


MULTILABEL = TaskKind(
  make=multilabel,
  data_arguments={
    **INPUT_ARGUMENTS,
    "class_counts": lambda info: info.class_counts,
    "size": lambda info: info.size,
  },
  model_arguments=lambda info: {"num_classes": len(info.schema.classes)},
  check_data=_check_data,
  to_json=_to_json,
  report_arrays=_report_arrays,
  tune=class_decisions.tune_labels,
  problem_type="multi_label_classification",
  assessable=Assessable(LABELS, "label", dict, _trivial),
  pipeline_tags={
    "images": "image-classification",
    "tables": "tabular-classification",
    "text": "text-classification",
  },
)

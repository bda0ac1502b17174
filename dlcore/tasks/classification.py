"""Classification: one of C classes for every example."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlcore import augment, losses, report_arrays
from dlcore.data import DataInfo
from dlcore.data.info import Normalization
from dlcore.data.source import Arrays
from dlcore.errors import UserError, check_choice
from dlcore.metrics import CLASSES, Predictions, select
from dlcore.task import Task
from dlcore.tasks import class_decisions, supervised
from dlcore.tasks.assessment import Assessable, Trivial, score_function
from dlcore.tasks.class_loss import class_loss, mix_labels
from dlcore.tasks.class_weights import resolve_weights
from dlcore.tasks.kind import INPUT_ARGUMENTS, TaskKind
from dlcore.typing import Array, Batch, Metrics

STANDARD = ("loss", "accuracy")
"""The metrics that are always measured."""


def classification(
  model: Any,
  *,
  input: str = "image",  # noqa: A002  the name of the array in the batch
  normalization: Normalization | None = None,
  label_smoothing: Array | float = 0.0,
  class_weights: Sequence[float] | str = (),
  class_counts: Sequence[int] = (),
  focal_gamma: Array | float = 0.0,
  thresholds: Sequence[float] = (),
  tune_thresholds: str = "",
  metrics: Sequence[str] = (),
  views: tuple[str, ...] = (),
) -> Task:
  """Returns the task of predicting the class of an input.

  The training loss is the (smoothed, class-weighted) cross-entropy; the
  metrics are the plain cross-entropy `loss` in nats and the `accuracy`.

  Args:
    model: `apply(variables, inputs, train=...) -> logits [B, C]`.
    input: the array of the batch that the model receives; with "input_ids"
      also `attention_mask` and `token_type_ids`, if the batch has them.
    normalization: mean and deviation of the input, see
      `model_calls.make_inputs`.
    label_smoothing: 0 to below 1 (Szegedy et al. 2016, arXiv:1512.00567); may
      be traced.
    class_weights: weight of each class in the training loss; empty for 1,
      `"balanced"` for weights in inverse proportion to `class_counts`.
    class_counts: number of examples of each class in train.
    focal_gamma: exponent of the focal loss, see `losses.focal_factor`; 0 is
      off; may be traced.
    thresholds: the least probability of the second of two classes with which it
      is predicted, one number; empty for the more probable class.
    tune_thresholds: criterion of a threshold that is chosen on the validation
      split after training, a key of `metrics.threshold.CRITERIA`; empty for
      none. `TaskKind.tune` chooses it.
    metrics: names of further metrics, see `metrics.METRICS`.
    views: some of `augment.VIEWS`. Evaluation and prediction average the
      probabilities over all of them, `("crops", "flip")` over ten.

  Returns:
    A task whose batches hold the input and `label`, int32 `[B]`; those of
    mixed images, see `augment.compose`, `partner_label` and `share` as well.
    Its `predict` returns `{"probabilities": float32 [B, C]}`, and `predicted`,
    int32 `[B]`, with a threshold.

  Raises:
    UserError: a setting is out of range.
  """
  loss = class_loss(
    label_smoothing=label_smoothing,
    class_weights=resolve_weights(class_weights, class_counts),
    focal_gamma=focal_gamma,
  )
  limits = class_decisions.check_thresholds(thresholds, tune_thresholds, 1)
  selection = select(metrics, CLASSES, exclude=STANDARD)
  if views and input != "image":
    raise UserError(
      "expected views to be empty without images",
      f"got data with {input!r} as its input",
      "leave views empty",
    )
  for view in views:
    check_choice("views", view, augment.VIEWS)

  def decide(logits: Array) -> Array:
    if limits and logits.shape[-1] != 2:
      raise UserError(
        "expected thresholds to be empty, except for two classes",
        f"got {limits} for {logits.shape[-1]} classes",
      )
    return class_decisions.decide_class(logits, limits)

  def measure(logits: Array, batch: Batch) -> dict[str, Array]:
    predicted = decide(logits)
    cross_entropy = partial(losses.softmax_cross_entropy, logits)
    return {
      "loss": mix_labels(batch, cross_entropy),
      "accuracy": mix_labels(batch, lambda labels: predicted == labels),
    }

  def sums(logits: Array, batch: Batch, weights: Array) -> Metrics:
    if not selection.summed:
      return {}
    probabilities = jax.nn.softmax(logits.astype(jnp.float32))
    predictions = {"probabilities": probabilities, "predicted": decide(logits)}
    if "partner_label" not in batch:
      return selection.sums(predictions, batch["label"], weights)
    share = batch["share"]
    parts = (
      selection.sums(predictions, batch["label"], weights * share),
      selection.sums(
        predictions, batch["partner_label"], weights * (1 - share)
      ),
    )
    return jax.tree.map(jnp.add, *parts)

  def predict(logits: Array) -> dict[str, Array]:
    rows = {"probabilities": jnp.exp(logits)}
    return rows | ({"predicted": decide(logits)} if limits else {})

  return supervised.make_task(
    model,
    input=input,
    loss=loss,
    metrics=measure,
    predict=predict,
    normalization=normalization,
    views=[augment.VIEWS[name] for name in views],
    combine=_mean_log_probabilities,
    sums=sums,
    derived=selection.derived,
    score=score_function(selection, _predictions, "label"),
  )


def _mean_log_probabilities(logits_of_views: Sequence[Array]) -> Array:
  """Returns the logarithm of the mean of softmax(logits), float32 `[B, C]`."""
  parts = [
    jax.nn.log_softmax(logits.astype(jnp.float32)) for logits in logits_of_views
  ]
  if len(parts) == 1:
    return parts[0]
  return jax.nn.logsumexp(jnp.stack(parts), axis=0) - math.log(len(parts))


def _predictions(rows: Arrays) -> Predictions:
  """Returns the predictions of `metrics.Metric` from those of a task."""
  if "predicted" in rows:
    return rows
  probabilities = rows["probabilities"]
  unknown = np.isnan(probabilities).any(-1)
  predicted = np.where(unknown, -1, probabilities.argmax(-1))
  return {**rows, "predicted": predicted}


def _trivial(info: DataInfo) -> Trivial | None:
  """Returns the most frequent class of train, with the shares of all."""
  counts = np.asarray(info.class_counts, np.float64)
  if not counts.sum():
    return None
  best = np.asarray(counts.argmax())
  shares = (counts / counts.sum()).astype(np.float32)
  return Trivial(
    f"always {info.schema.classes[best]!r}",
    {"probabilities": shares, "predicted": best},
  )


def _check_data(info: DataInfo) -> None:
  classes, target = info.schema.classes, info.schema.target
  if info.schema.multilabel:
    raise UserError(
      "expected data with one class for every example for classification",
      f"got {info.name!r}, whose examples have several labels",
      "use the task 'multilabel'",
    )
  if target == "target":
    raise UserError(
      "expected data with classes for classification",
      f"got {info.name!r}, whose target is a number",
      "use the task 'regression'",
    )
  if target != "label" or not classes:
    raise UserError(
      "expected data with an array 'label' of classes for classification",
      f"got {info.name!r}, with {len(classes)} classes and the target "
      f"{target!r}",
      "rename the array and name its classes, or choose another task",
    )
  if len(classes) < 2:
    raise UserError(
      "expected data of at least two classes",
      f"got {info.name!r}, where all examples are {', '.join(classes)!r}",
    )


def _to_json(row: Arrays, info: DataInfo) -> dict[str, Any]:
  probabilities = row["probabilities"]
  best = int(row.get("predicted", np.argmax(probabilities)))
  values = map(float, probabilities)
  return {
    "label": info.schema.classes[best],
    "probability": float(probabilities[best]),
    "probabilities": dict(zip(info.schema.classes, values, strict=True)),
  }


def _report_arrays(
  split: str,
  rows: Arrays,
  targets: Arrays,
  info: DataInfo,
  read: report_arrays.Read,
) -> Arrays:
  del info
  return report_arrays.classification(
    split,
    targets["label"],
    rows["probabilities"],
    read,
    prediction=rows.get("predicted"),
  )


CLASSIFICATION = TaskKind(
  make=classification,
  data_arguments={
    **INPUT_ARGUMENTS,
    "class_counts": lambda info: info.class_counts,
  },
  model_arguments=lambda info: {"num_classes": len(info.schema.classes)},
  check_data=_check_data,
  to_json=_to_json,
  report_arrays=_report_arrays,
  tune=class_decisions.tune_class,
  problem_type="single_label_classification",
  assessable=Assessable(CLASSES, "label", _predictions, _trivial),
  pipeline_tags={
    "images": "image-classification",
    "tables": "tabular-classification",
    "text": "text-classification",
  },
)

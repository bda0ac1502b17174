"""Classification: one of C classes for every example."""

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlcore import augment, losses, report_arrays
from dlcore.data import DataInfo
from dlcore.data.info import Normalization
from dlcore.data.source import Arrays
from dlcore.errors import UserError, check_choice
from dlcore.task import Task
from dlcore.tasks import supervised
from dlcore.tasks.kind import TaskKind
from dlcore.typing import Array, Batch


def classification(
  model: Any,
  *,
  input: str = "image",  # noqa: A002  the name of the array in the batch
  normalization: Normalization | None = None,
  label_smoothing: Array | float = 0.0,
  class_weights: Sequence[float] = (),
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
    class_weights: weight of each class in the training loss; empty for 1.
    views: some of `augment.VIEWS`. Evaluation and prediction average the
      probabilities over all of them, `("crops", "flip")` over ten.

  Returns:
    A task whose batches hold the input and `label`, int32 `[B]`; those of
    mixed images, see `augment.compose`, `partner_label` and `share` as well.
    Its `predict` returns `{"probabilities": float32 [B, C]}`.

  Raises:
    UserError: a setting is out of range.
  """
  _check_smoothing(label_smoothing)
  class_weights = _check_weights(class_weights)
  if views and input != "image":
    raise UserError(
      "expected views to be empty without images",
      f"got data with {input!r} as its input",
      "leave views empty",
    )
  for view in views:
    check_choice("views", view, augment.VIEWS)

  def loss(logits: Array, batch: Batch) -> supervised.Values:
    def cross_entropy(labels: Array) -> Array:
      return losses.softmax_cross_entropy(logits, labels, label_smoothing)

    def weight(labels: Array) -> Array:
      # A label of no class has a loss of NaN, which a weight of 0 would hide.
      return by_class.at[labels].get(
        mode="fill", fill_value=1, wrap_negative_indices=False
      )

    if not class_weights:
      return _mixed(batch, cross_entropy)
    by_class = _class_weight_array(class_weights, logits.shape[-1])
    mean = _mixed(batch, weight)
    values = _mixed(batch, lambda at: weight(at) * cross_entropy(at))
    return values / jnp.where(mean > 0, mean, 1.0), mean

  return supervised.make_task(
    model,
    input=input,
    loss=loss,
    metrics=_metrics,
    predict=lambda logits: {"probabilities": jnp.exp(logits)},
    normalization=normalization,
    views=[augment.VIEWS[name] for name in views],
    combine=_mean_log_probabilities,
  )


def _metrics(logits: Array, batch: Batch) -> dict[str, Array]:
  """Returns cross-entropy and accuracy of each example, `[B]`."""
  predicted = jnp.argmax(logits, axis=-1)
  return {
    "loss": _mixed(
      batch, lambda labels: losses.softmax_cross_entropy(logits, labels)
    ),
    "accuracy": _mixed(batch, lambda labels: predicted == labels),
  }


def _mean_log_probabilities(logits_of_views: Sequence[Array]) -> Array:
  """Returns the logarithm of the mean of softmax(logits), float32 `[B, C]`."""
  parts = [
    jax.nn.log_softmax(logits.astype(jnp.float32)) for logits in logits_of_views
  ]
  if len(parts) == 1:
    return parts[0]
  return jax.nn.logsumexp(jnp.stack(parts), axis=0) - math.log(len(parts))


def _mixed(batch: Batch, function: Callable[[Array], Array]) -> Array:
  """Returns `function(labels)` `[B]`; mixed images take the weighted mean."""
  labels = batch["label"]
  if labels.ndim != 1:
    raise UserError(
      "expected one class for every example, a label [B]",
      f"got labels of shape {list(labels.shape)}",
    )
  values = function(labels)
  if "partner_label" not in batch:
    return values
  share = batch["share"]
  return share * values + (1 - share) * function(batch["partner_label"])


def _class_weight_array(weights: Sequence[float], num_classes: int) -> Array:
  if len(weights) != num_classes:
    raise UserError(
      f"expected class_weights of {num_classes} numbers, one per class",
      f"got {len(weights)}",
    )
  return jnp.asarray(weights, jnp.float32)


def _check_smoothing(value: Any) -> None:
  if isinstance(value, jax.Array):  # It may be traced.
    return
  if not isinstance(value, Real) or not 0 <= float(value) < 1:
    raise UserError(
      "expected label_smoothing from 0 to below 1", f"got {value!r}"
    )


def _check_weights(weights: Any) -> tuple[float, ...]:
  """Returns the weights of classes as floats.

  Raises:
    UserError: they are not finite numbers >= 0, one of them above 0.
  """
  values = np.asarray(weights, object)
  if values.ndim != 1 or not all(
    isinstance(weight, Real) and math.isfinite(weight) for weight in values
  ):
    raise UserError(
      "expected class_weights to be numbers, one per class", f"got {weights!r}"
    )
  if len(values) and not min(values) >= 0 < max(values):
    raise UserError(
      "expected class_weights to be >= 0, and one of them above 0",
      f"got {weights!r}",
    )
  return tuple(map(float, values))


def _check_data(info: DataInfo) -> None:
  classes, target = info.schema.classes, info.schema.target
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
  best = int(np.argmax(row["probabilities"]))
  values = map(float, row["probabilities"])
  return {
    "label": info.schema.classes[best],
    "probability": float(row["probabilities"][best]),
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
    split, targets["label"], rows["probabilities"], read
  )


CLASSIFICATION = TaskKind(
  make=classification,
  model_arguments=lambda info: {"num_classes": len(info.schema.classes)},
  check_data=_check_data,
  to_json=_to_json,
  report_arrays=_report_arrays,
)

"""Classification: one of C classes for every example."""

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlcore import augment, losses, metrics, predictions
from dlcore.data import DataInfo
from dlcore.errors import UserError, lookup
from dlcore.task import Task
from dlcore.tasks import supervised
from dlcore.tasks.kind import (
  Arrays,
  TaskKind,
  read_input,
  read_normalization,
)
from dlcore.typing import Array, Batch, Metrics, ModelState, Params


def classification(
  model: Any,
  *,
  input: str = "image",  # noqa: A002  the name of the array in the batch
  normalization: supervised.Normalization | None = None,
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
    normalization: mean and deviation of the input, see `supervised`.
    label_smoothing: 0 to 1 (Szegedy et al. 2016, arXiv:1512.00567); may be
      traced.
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
  view_functions = [lookup(augment.VIEWS, name, "view") for name in views]
  inputs = supervised.make_inputs(input, normalization)

  def apply(params, model_state, inputs, batch, **settings):
    arguments = supervised.token_arguments(input, batch)
    return supervised.apply(
      model, params, model_state, inputs, **arguments, **settings
    )

  def init(key: Array, batch: Batch):
    arguments = supervised.token_arguments(input, batch)
    return supervised.init(model, key, inputs(batch), **arguments)

  def loss(params: Params, model_state: ModelState, batch: Batch, key: Array):
    logits, new_state = apply(
      params, model_state, inputs(batch), batch, key=key, train=True
    )
    mask = metrics.weights(batch, logits.shape[0])

    def cross_entropy(labels: Array) -> Array:
      return losses.softmax_cross_entropy(logits, labels, label_smoothing)

    def weight(labels: Array) -> Array:
      # A label of no class has a loss of NaN, which a weight of 0 would hide.
      return (
        class_weight_array(logits.shape[-1])
        .at[labels]
        .get(mode="fill", fill_value=1, wrap_negative_indices=False)
      )

    if class_weights:
      mean = _mixed(batch, weight)
      values = _mixed(batch, lambda at: weight(at) * cross_entropy(at))
      values, mask = values / jnp.where(mean > 0, mean, 1.0), mask * mean
    else:
      values = _mixed(batch, cross_entropy)
    total = supervised.weighted_total(values, mask)
    return total, (new_state, sums(logits, batch))

  def sums(logits: Array, batch: Batch) -> Metrics:
    mask = metrics.weights(batch, logits.shape[0])
    plain = _mixed(
      batch, lambda labels: losses.softmax_cross_entropy(logits, labels)
    )
    predicted = jnp.argmax(logits, axis=-1)
    return {
      "loss": metrics.weighted(plain, mask),
      "accuracy": metrics.weighted(
        _mixed(batch, lambda labels: predicted == labels), mask
      ),
    }

  def log_probabilities(params: Params, model_state: ModelState, batch: Batch):
    images = [inputs(batch)]
    for view in view_functions:
      images = [new for image in images for new in view(image)]
    parts = []
    for image in images:
      logits, _ = apply(params, model_state, image, batch, train=False)
      parts.append(jax.nn.log_softmax(logits.astype(jnp.float32)))
    if len(parts) == 1:
      return parts[0]
    return jax.nn.logsumexp(jnp.stack(parts), axis=0) - math.log(len(parts))

  def evaluate(params: Params, model_state: ModelState, batch: Batch, key):
    del key
    logits = log_probabilities(params, model_state, batch)
    return model_state, sums(logits, batch)

  def predict(params: Params, model_state: ModelState, batch: Batch, key):
    del key
    logits = log_probabilities(params, model_state, batch)
    return {"probabilities": jnp.exp(logits)}

  def class_weight_array(num_classes: int) -> Array:
    if len(class_weights) != num_classes:
      raise UserError(
        f"expected class_weights of {num_classes} numbers, one per class",
        f"got {len(class_weights)}",
      )
    return jnp.asarray(class_weights, jnp.float32)

  return Task(init=init, loss=loss, evaluate=evaluate, predict=predict)


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
      "expected numbers in class_weights, one per class", f"got {weights!r}"
    )
  if len(values) and not min(values) >= 0 < max(values):
    raise UserError(
      "expected numbers >= 0 in class_weights, and one above 0",
      f"got {weights!r}",
    )
  return tuple(map(float, values))


def _mixed(batch: Batch, function: Callable[[Array], Array]) -> Array:
  """Returns `function(labels)` `[B]`; mixed images take the weighted mean."""
  values = function(batch["label"])
  if "partner_label" not in batch:
    return values
  share = batch["share"]
  return share * values + (1 - share) * function(batch["partner_label"])


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
      "choose a task for this target",
    )
  if len(classes) < 2:
    raise UserError(
      "expected data of at least two classes",
      f"got {info.name!r}, where all examples are {classes[0]!r}",
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
  split: str, rows: Arrays, targets: Arrays, read: Callable
) -> Arrays:
  return predictions.classification(
    split, targets["label"], rows["probabilities"], read
  )


CLASSIFICATION = TaskKind(
  make=classification,
  data_arguments={"input": read_input, "normalization": read_normalization},
  model_arguments=lambda info: {"num_classes": len(info.schema.classes)},
  check_data=_check_data,
  to_json=_to_json,
  report_arrays=_report_arrays,
)

"""One of C classes for every example."""

import jax
import jax.numpy as jnp

from dlcore import losses, metrics
from dlcore.errors import UserError
from dlcore.task import Task
from dlcore.tasks import supervised
from dlcore.typing import Array, Batch, Extra, Params


def classification(
  model,
  *,
  input: str = "image",  # noqa: A002  the key of the batch, as in `about`
  normalization: supervised.Normalization | None = None,
  label_smoothing: float = 0.0,
  class_weights: tuple[float, ...] = (),
) -> Task:
  """Makes the task of telling the class of an input.

  The training loss is the (smoothed, class-weighted) cross-entropy; the
  metrics are the plain cross-entropy `loss` in nats and the `accuracy`.

  Args:
    model: `apply(variables, inputs, train=...) -> logits [B, C]`.
    input: the array of the batch that the model sees.
    normalization: mean and deviation of the input, see `data.from_arrays`.
    label_smoothing: 0 to 1 (Szegedy et al. 2016, arXiv:1512.00567).
    class_weights: weight of each class in the training loss; empty for 1.

  Returns:
    A task whose batches hold the input and `label`, int32 `[B]`. Its
    `predict` returns `{"probabilities": float32 [B, C]}`.

  Raises:
    UserError: a setting is out of range.
  """
  if not 0 <= label_smoothing < 1:
    raise UserError(
      "expected task.label_smoothing from 0 to below 1",
      f"got {label_smoothing}",
    )
  numbers = all(isinstance(weight, int | float) for weight in class_weights)
  if class_weights and not (
    numbers and min(class_weights) >= 0 < max(class_weights)
  ):
    raise UserError(
      "expected numbers >= 0 in task.class_weights, and one above 0",
      f"got {class_weights}",
    )
  inputs = supervised.make_inputs(input, normalization)

  def init(key: Array, batch: Batch):
    params, extra = supervised.init(model, key, inputs(batch))
    settings = {
      **extra["settings"],
      "label_smoothing": jnp.float32(label_smoothing),
    }
    return params, {**extra, "settings": settings}

  def loss(params: Params, extra: Extra, batch: Batch, key: Array):
    logits, new_extra = supervised.apply(
      model, params, extra, inputs(batch), key=key, train=True
    )
    labels = batch["label"]
    mask = metrics.weights(batch, labels.shape[0])
    smoothing = extra["settings"]["label_smoothing"] if label_smoothing else 0.0
    values = losses.softmax_cross_entropy(logits, labels, smoothing)
    plain = losses.softmax_cross_entropy(logits, labels)
    weights = mask
    if class_weights:
      weights = mask * _weights(logits.shape[-1])[labels]
    correct = jnp.argmax(logits, axis=-1) == labels
    sums = {
      "loss": metrics.weighted(plain, mask),
      "accuracy": metrics.weighted(correct, mask),
    }
    return supervised.weigh(values, weights), (new_extra, sums)

  def evaluate(params: Params, extra: Extra, batch: Batch, key: Array):
    del key
    logits, _ = supervised.apply(
      model, params, extra, inputs(batch), train=False
    )
    labels = batch["label"]
    mask = metrics.weights(batch, labels.shape[0])
    values = losses.softmax_cross_entropy(logits, labels)
    correct = jnp.argmax(logits, axis=-1) == labels
    return {
      "loss": metrics.weighted(values, mask),
      "accuracy": metrics.weighted(correct, mask),
    }

  def predict(params: Params, extra: Extra, batch: Batch, key: Array):
    del key
    logits, _ = supervised.apply(
      model, params, extra, inputs(batch), train=False
    )
    return {"probabilities": jax.nn.softmax(logits.astype(jnp.float32))}

  def _weights(classes: int) -> Array:
    if len(class_weights) != classes:
      raise UserError(
        f"expected task.class_weights of {classes} numbers, one per class",
        f"got {len(class_weights)}",
      )
    return jnp.asarray(class_weights, jnp.float32)

  return Task(init=init, loss=loss, evaluate=evaluate, predict=predict)

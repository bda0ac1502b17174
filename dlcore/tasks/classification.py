"""One of C classes for every example."""

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlcore import augment, losses, metrics
from dlcore.errors import UserError, lookup
from dlcore.task import Task
from dlcore.tasks import supervised
from dlcore.typing import Array, Batch, Extra, Metrics, Params


def classification(
  model,
  *,
  input: str = "image",  # noqa: A002  the key of the batch, as in `about`
  normalization: supervised.Normalization | None = None,
  label_smoothing: float = 0.0,
  class_weights: Sequence[float] = (),
  views: tuple[str, ...] = (),
) -> Task:
  """Makes the task of telling the class of an input.

  The training loss is the (smoothed, class-weighted) cross-entropy; the
  metrics are the plain cross-entropy `loss` in nats and the `accuracy`.

  Args:
    model: `apply(variables, inputs, train=...) -> logits [B, C]`.
    input: the array of the batch that the model sees; with "input_ids" also
      `attention_mask` and `token_type_ids`, where the batch has them.
    normalization: mean and deviation of the input, see `data.from_arrays`.
    label_smoothing: 0 to 1 (Szegedy et al. 2016, arXiv:1512.00567).
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
  if not isinstance(label_smoothing, Real) or not 0 <= label_smoothing < 1:
    raise UserError(
      "expected task.label_smoothing from 0 to below 1",
      f"got {label_smoothing!r}",
    )
  class_weights = _numbers(class_weights)
  if views and input != "image":
    raise UserError(
      "expected images, of which task.views shows several",
      f"got data with {input!r} as its input",
      "leave task.views empty",
    )
  chosen_views = [lookup(augment.VIEWS, name, "view") for name in views]
  inputs = supervised.make_inputs(input, normalization)

  def apply(params, extra, inputs, batch, **how):
    beside = supervised.beside(input, batch)
    return supervised.apply(model, params, extra, inputs, **beside, **how)

  def init(key: Array, batch: Batch):
    beside = supervised.beside(input, batch)
    params, extra = supervised.init(model, key, inputs(batch), **beside)
    settings = {
      **extra["settings"],
      "label_smoothing": jnp.float32(label_smoothing),
    }
    return params, {**extra, "settings": settings}

  def loss(params: Params, extra: Extra, batch: Batch, key: Array):
    logits, new_extra = apply(
      params, extra, inputs(batch), batch, key=key, train=True
    )
    mask = metrics.weights(batch, logits.shape[0])
    smoothing = extra["settings"]["label_smoothing"] if label_smoothing else 0.0

    def cross_entropy(labels: Array) -> Array:
      return losses.softmax_cross_entropy(logits, labels, smoothing)

    def weight(labels: Array) -> Array:
      # What is no class has a loss of NaN, which a weight of 0 would hide.
      return (
        weights_of(logits.shape[-1])
        .at[labels]
        .get(mode="fill", fill_value=1, wrap_negative_indices=False)
      )

    if class_weights:
      mean = _mixed(batch, weight)
      values = _mixed(batch, lambda at: weight(at) * cross_entropy(at))
      values, mask = values / jnp.where(mean > 0, mean, 1.0), mask * mean
    else:
      values = _mixed(batch, cross_entropy)
    return supervised.weigh(values, mask), (new_extra, sums(logits, batch))

  def sums(logits: Array, batch: Batch) -> Metrics:
    mask = metrics.weights(batch, logits.shape[0])
    plain = _mixed(
      batch, lambda labels: losses.softmax_cross_entropy(logits, labels)
    )
    chosen = jnp.argmax(logits, axis=-1)
    return {
      "loss": metrics.weighted(plain, mask),
      "accuracy": metrics.weighted(
        _mixed(batch, lambda labels: chosen == labels), mask
      ),
    }

  def log_probabilities(params: Params, extra: Extra, batch: Batch) -> Array:
    seen = [inputs(batch)]
    for view in chosen_views:
      seen = [new for images in seen for new in view(images)]
    parts = []
    for images in seen:
      logits, _ = apply(params, extra, images, batch, train=False)
      parts.append(jax.nn.log_softmax(logits.astype(jnp.float32)))
    if len(parts) == 1:
      return parts[0]
    return jax.nn.logsumexp(jnp.stack(parts), axis=0) - math.log(len(parts))

  def evaluate(params: Params, extra: Extra, batch: Batch, key: Array):
    del key
    return sums(log_probabilities(params, extra, batch), batch)

  def predict(params: Params, extra: Extra, batch: Batch, key: Array):
    del key
    return {"probabilities": jnp.exp(log_probabilities(params, extra, batch))}

  def weights_of(classes: int) -> Array:
    if len(class_weights) != classes:
      raise UserError(
        f"expected task.class_weights of {classes} numbers, one per class",
        f"got {len(class_weights)}",
      )
    return jnp.asarray(class_weights, jnp.float32)

  return Task(init=init, loss=loss, evaluate=evaluate, predict=predict)


def _numbers(weights: Any) -> tuple[float, ...]:
  """Returns the weights of classes, if they can be some."""
  found = np.asarray(weights, object)
  if found.ndim != 1 or not all(
    isinstance(weight, Real) and math.isfinite(weight) for weight in found
  ):
    raise UserError(
      "expected numbers in task.class_weights, one per class",
      f"got {weights!r}",
    )
  if len(found) and not min(found) >= 0 < max(found):
    raise UserError(
      "expected numbers >= 0 in task.class_weights, and one above 0",
      f"got {weights!r}",
    )
  return tuple(map(float, found))


def _mixed(batch: Batch, function: Callable[[Array], Array]) -> Array:
  """Returns `function(labels)` `[B]`, of mixed images the mean by share."""
  values = function(batch["label"])
  if "partner_label" not in batch:
    return values
  share = batch["share"]
  return share * values + (1 - share) * function(batch["partner_label"])

"""One number for every example."""

import math

import jax.numpy as jnp

from dlcore import losses, metrics
from dlcore.errors import UserError
from dlcore.task import Task
from dlcore.tasks import supervised
from dlcore.typing import Array, Batch, Extra, Metrics, Params


def regression(
  model,
  *,
  input: str = "features",  # noqa: A002  the key of the batch, as in `about`
  normalization: supervised.Normalization | None = None,
  target_normalization: supervised.Normalization | None = None,
) -> Task:
  """Makes the task of predicting a number by least squares.

  The model predicts the normalised target; `loss` is its squared error. The
  metrics `mae`, `rmse` and `r2` are in the units of the target.

  Args:
    model: `apply(variables, inputs, train=...) -> [B, 1]`.
    input: the array of the batch that the model sees; with "input_ids" also
      `attention_mask` and `token_type_ids`, where the batch has them.
    normalization: mean and deviation of the input, see `data.from_arrays`.
    target_normalization: `{"mean": m, "std": s}` of the target, or None.

  Returns:
    A task whose batches hold the input and `target`, float32 `[B]` or `[B, 1]`.
    Its `predict` returns `{"prediction": float32 [B]}` in the target's units.
  """
  inputs = supervised.make_inputs(input, normalization)
  scale = dict(target_normalization or {"mean": 0.0, "std": 1.0})

  def normalised(target: Array) -> Array:
    return (target - scale["mean"]) / scale["std"]

  def measure(outputs: Array, batch: Batch) -> tuple[Array, Metrics]:
    target = _column(batch["target"])
    mask = metrics.weights(batch, target.shape[0])
    target = jnp.where(mask > 0, target, 0)
    values = losses.squared_error(outputs, normalised(target))
    error = jnp.abs(outputs - normalised(target)) * scale["std"]
    return values, {
      "loss": metrics.weighted(values, mask),
      "mae": metrics.weighted(error, mask),
      "_squared_error": metrics.weighted(jnp.square(error), mask),
      "_target": metrics.weighted(normalised(target), mask),
      "_squared_target": metrics.weighted(jnp.square(normalised(target)), mask),
    }

  def apply(params: Params, extra: Extra, batch: Batch, **how):
    """Returns the output `[B]` and the new extra."""
    beside = supervised.beside(input, batch)
    outputs, extra = supervised.apply(
      model, params, extra, inputs(batch), width=1, **beside, **how
    )
    return outputs[:, 0], extra

  def init(key: Array, batch: Batch):
    beside = supervised.beside(input, batch)
    return supervised.init(model, key, inputs(batch), **beside)

  def loss(params: Params, extra: Extra, batch: Batch, key: Array):
    outputs, new_extra = apply(params, extra, batch, key=key, train=True)
    values, sums = measure(outputs, batch)
    mask = metrics.weights(batch, values.shape[0])
    return supervised.weigh(values, mask), (new_extra, sums)

  def evaluate(params: Params, extra: Extra, batch: Batch, key: Array):
    del key
    outputs, _ = apply(params, extra, batch, train=False)
    return measure(outputs, batch)[1]

  def predict(params: Params, extra: Extra, batch: Batch, key: Array):
    del key
    outputs, _ = apply(params, extra, batch, train=False)
    return {"prediction": outputs * scale["std"] + scale["mean"]}

  return Task(
    init=init, loss=loss, evaluate=evaluate, predict=predict, derived=_derived
  )


def _column(target: Array) -> Array:
  """Returns `[B]` or `[B, 1]` as `[B]`."""
  if target.ndim != 1 and target.shape[1:] != (1,):
    raise UserError(
      "expected one number for every example, a target [B]",
      f"got one of shape {target.shape}",
    )
  return target.reshape(target.shape[0])


def _derived(sums: Metrics) -> dict[str, float]:
  """Returns the root of the squared error and the share explained, R^2."""

  def mean(name: str) -> float:
    total, count = sums[name]
    return float(total) / float(count) if count else math.nan

  variance = mean("_squared_target") - mean("_target") ** 2
  explained = 1 - mean("loss") / variance if variance > 0 else math.nan
  return {"rmse": math.sqrt(mean("_squared_error")), "r2": explained}

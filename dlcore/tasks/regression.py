"""Regression: one number for every example."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from dlcore import losses, metrics, predictions
from dlcore.data import DataInfo
from dlcore.errors import UserError
from dlcore.task import Task
from dlcore.tasks import supervised
from dlcore.tasks.kind import (
  Arrays,
  TaskKind,
  read_input,
  read_normalization,
)
from dlcore.typing import Array, Batch, Metrics, ModelState, Params


def regression(
  model,
  *,
  input: str = "features",  # noqa: A002  the name of the array in the batch
  normalization: supervised.Normalization | None = None,
  target_normalization: supervised.Normalization | None = None,
) -> Task:
  """Returns the task of predicting a number by least squares.

  The model predicts the normalized target; `loss` is its squared error. The
  metrics `mae`, `rmse` and `r2` are in the units of the target.

  Args:
    model: `apply(variables, inputs, train=...) -> [B, 1]`.
    input: the array of the batch that the model receives; with "input_ids" also
      `attention_mask` and `token_type_ids`, if the batch has them.
    normalization: mean and deviation of the input, see `supervised`.
    target_normalization: `{"mean": m, "std": s}` of the target, or None.

  Returns:
    A task whose batches hold the input and `target`, float32 `[B]` or `[B, 1]`.
    Its `predict` returns `{"prediction": float32 [B]}` in the target's units.
  """
  inputs = supervised.make_inputs(input, normalization)
  scale = dict(target_normalization or {"mean": 0.0, "std": 1.0})

  def normalize(target: Array) -> Array:
    return (target - scale["mean"]) / scale["std"]

  def measure(outputs: Array, batch: Batch) -> tuple[Array, Metrics]:
    target = _column(batch["target"])
    mask = metrics.weights(batch, target.shape[0])
    target = jnp.where(mask > 0, target, 0)
    values = losses.squared_error(outputs, normalize(target))
    error = jnp.abs(outputs - normalize(target)) * scale["std"]
    return values, {
      "loss": metrics.weighted(values, mask),
      "mae": metrics.weighted(error, mask),
      "_squared_error": metrics.weighted(jnp.square(error), mask),
      "_target": metrics.weighted(normalize(target), mask),
      "_squared_target": metrics.weighted(jnp.square(normalize(target)), mask),
    }

  def apply(params: Params, model_state: ModelState, batch: Batch, **settings):
    """Returns the output `[B]` and the new collections."""
    arguments = supervised.token_arguments(input, batch)
    outputs, model_state = supervised.apply(
      model,
      params,
      model_state,
      inputs(batch),
      width=1,
      **arguments,
      **settings,
    )
    return outputs[:, 0], model_state

  def init(key: Array, batch: Batch):
    arguments = supervised.token_arguments(input, batch)
    return supervised.init(model, key, inputs(batch), **arguments)

  def loss(params: Params, model_state: ModelState, batch: Batch, key: Array):
    outputs, new_state = apply(params, model_state, batch, key=key, train=True)
    values, sums = measure(outputs, batch)
    mask = metrics.weights(batch, values.shape[0])
    return supervised.weighted_total(values, mask), (new_state, sums)

  def evaluate(params: Params, model_state: ModelState, batch: Batch, key):
    del key
    outputs, _ = apply(params, model_state, batch, train=False)
    return model_state, measure(outputs, batch)[1]

  def predict(params: Params, model_state: ModelState, batch: Batch, key):
    del key
    outputs, _ = apply(params, model_state, batch, train=False)
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
  """Returns the root mean squared error and R^2."""

  def mean(name: str) -> float:
    total, count = sums[name]
    return float(total) / float(count) if count else math.nan

  variance = mean("_squared_target") - mean("_target") ** 2
  explained = 1 - mean("loss") / variance if variance > 0 else math.nan
  return {"rmse": math.sqrt(mean("_squared_error")), "r2": explained}


def _check_data(info: DataInfo) -> None:
  classes, target = info.schema.classes, info.schema.target
  if classes:
    raise UserError(
      "expected data with a number as its target for regression",
      f"got {info.name!r}, which has {len(classes)} classes",
      "use the task 'classification'",
    )
  if target != "target":
    raise UserError(
      "expected data with an array 'target' of numbers for regression",
      f"got {info.name!r}, whose target is {target!r}",
      "choose a task for this target",
    )


def _to_json(row: Arrays, info: DataInfo) -> dict[str, Any]:
  del info
  return {name: float(value) for name, value in row.items()}


def _report_arrays(
  split: str, rows: Arrays, targets: Arrays, read: Callable
) -> Arrays:
  return predictions.regression(
    split, targets["target"], rows["prediction"], read
  )


REGRESSION = TaskKind(
  make=regression,
  data_arguments={
    "input": read_input,
    "normalization": read_normalization,
    "target_normalization": lambda info: info.schema.target_normalization,
  },
  model_arguments=lambda info: {"num_classes": 1},
  check_data=_check_data,
  to_json=_to_json,
  report_arrays=_report_arrays,
)

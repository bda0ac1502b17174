"""Regression: one number for every example."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from dlcore import losses, metrics, report_arrays
from dlcore.data import DataInfo
from dlcore.data.info import Normalization
from dlcore.data.source import Arrays
from dlcore.errors import UserError, check_choice
from dlcore.metrics import NUMBERS, Predictions, select
from dlcore.task import Task
from dlcore.tasks import supervised
from dlcore.tasks.assessment import Assessable, Trivial, score_function
from dlcore.tasks.kind import INPUT_ARGUMENTS, TaskKind
from dlcore.typing import Array, Batch, Metrics

STANDARD = ("loss", "mae", "rmse", "r2")
"""The metrics that are always measured."""

IDENTITY = {"mean": 0.0, "std": 1.0}
"""The normalization that changes nothing."""


def regression(
  model: Any,
  *,
  input: str = "features",  # noqa: A002  the name of the array in the batch
  normalization: Normalization | None = None,
  target_normalization: Normalization | None = None,
  target_offset: float | None = None,
  target_transform: str = "none",
  transformed_normalization: Normalization | None = None,
  metrics: Sequence[str] = (),
) -> Task:
  """Returns the task of predicting a number by least squares.

  The model predicts the normalized target, or its logarithm; `loss` is its
  squared error. The metrics `mae`, `rmse` and `r2` are in the units of the
  target.

  Args:
    model: `apply(variables, inputs, train=...) -> [B, 1]`.
    input: the array of the batch that the model receives; with "input_ids" also
      `attention_mask` and `token_type_ids`, if the batch has them.
    normalization: mean and deviation of the input, see
      `model_calls.make_inputs`.
    target_normalization: `{"mean": m, "std": s}` of the target, or None.
    target_offset: number that was subtracted from the target, for `mape`.
    target_transform: `"log"` if the model predicts the logarithm of a target
      above 0, `"none"` for the target itself.
    transformed_normalization: `target_normalization` of the logarithm.
    metrics: names of further metrics, see `metrics.METRICS`.

  Returns:
    A task whose batches hold the input and `target`, float32 `[B]` or `[B, 1]`.
    Its `predict` returns `{"prediction": float32 [B]}` in the target's units.
  """
  check_choice("target_transform", target_transform, ("none", "log"))
  is_log = target_transform == "log"
  scale = dict(target_normalization or IDENTITY)
  learned = dict(transformed_normalization or IDENTITY) if is_log else scale
  selection = select(metrics, NUMBERS, exclude=STANDARD)

  def loss(outputs: Array, batch: Batch) -> Array:
    target = _column(batch["target"])
    if is_log:
      # Masked rows are zeros, whose logarithm would reach the gradient.
      target = jnp.log(jnp.where(_is_masked(batch), 1.0, target))
    return losses.squared_error(outputs[:, 0], _normalize(target, learned))

  def scaled_error(outputs: Array, target: Array) -> Array:
    if is_log:
      return (predict(outputs)["prediction"] - target) / scale["std"]
    return outputs[:, 0] - _normalize(target, scale)

  def measure(outputs: Array, batch: Batch) -> dict[str, Array]:
    target = _column(batch["target"])
    normalized = _normalize(target, scale)
    difference = scaled_error(outputs, target)
    error = jnp.abs(difference) * scale["std"]
    return {
      "loss": loss(outputs, batch),
      "mae": error,
      "_squared_error": jnp.square(error),
      "_squared_scaled_error": jnp.square(difference),
      "_target": normalized,
      "_squared_target": jnp.square(normalized),
    }

  def predict(outputs: Array) -> dict[str, Array]:
    values = outputs[:, 0] * learned["std"] + learned["mean"]
    return {"prediction": jnp.exp(values) if is_log else values}

  def with_units(rows: Predictions) -> Predictions:
    units = {"center": scale["mean"], "scale": scale["std"]}
    return {**rows, **units, "offset": target_offset or 0.0}

  def sums(outputs: Array, batch: Batch, weights: Array) -> Metrics:
    target = _column(batch["target"])
    return selection.sums(with_units(predict(outputs)), target, weights)

  return supervised.make_task(
    model,
    input=input,
    loss=loss,
    metrics=measure,
    predict=predict,
    normalization=normalization,
    output_shape=("B", 1),
    sums=sums,
    derived=lambda sums: _derived(sums) | selection.derived(sums),
    score=score_function(selection, with_units, "target", flat=True),
  )


def _normalize(target: Array, scale: Normalization) -> Array:
  return (target - scale["mean"]) / scale["std"]


def _is_masked(batch: Batch) -> Array:
  """Returns whether a row does not count, bool `[B]` or a scalar."""
  return batch["mask"] == 0 if "mask" in batch else jnp.asarray(False)


def _column(target: Array) -> Array:
  """Returns `[B]` or `[B, 1]` as `[B]`."""
  if target.ndim != 1 and target.shape[1:] != (1,):
    raise UserError(
      "expected one number for every example, a target [B]",
      f"got one of shape {list(target.shape)}",
    )
  return target.reshape(target.shape[0])


def _derived(sums: Metrics) -> dict[str, float]:
  """Returns the root mean squared error and R^2."""
  names = ("error", "scaled_error", "target")
  mean = {n: metrics.mean(sums[f"_squared_{n}"]) for n in names}
  variance = mean["target"] - metrics.mean(sums["_target"]) ** 2
  r2 = 1 - mean["scaled_error"] / variance if variance > 0 else math.nan
  return {"rmse": math.sqrt(mean["error"]), "r2": r2}


def _trivial(info: DataInfo) -> Trivial | None:
  """Returns the mean of the targets of train."""
  scale = info.schema.target_normalization
  if scale is None or np.ndim(scale["mean"]):
    return None
  mean, offset = scale["mean"], info.schema.target_offset or 0.0
  return Trivial(
    f"always the mean, {mean + offset:.4g}",
    {"prediction": np.asarray(mean), "offset": offset},
  )


def _check_data(info: DataInfo) -> None:
  classes, target = info.schema.classes, info.schema.target
  if classes:
    remedy = "use the task 'classification'"
    if all(map(_is_number, classes)):
      remedy = f'read a table with data.task="regression", or {remedy}'
    raise UserError(
      "expected data with a number as its target for regression",
      f"got {info.name!r}, which has {len(classes)} classes",
      remedy,
    )
  if target != "target":
    raise UserError(
      "expected data with an array 'target' of numbers for regression",
      f"got {info.name!r}, whose target is {target!r}",
      "rename the array, or choose another task",
    )


def _is_number(name: str) -> bool:
  try:
    return math.isfinite(float(name))
  except ValueError:
    return False


def _to_json(row: Arrays, info: DataInfo) -> dict[str, Any]:
  offset = info.schema.target_offset or 0.0  # In float64, as it was subtracted.
  return {name: float(value) + offset for name, value in row.items()}


def _report_arrays(
  split: str,
  rows: Arrays,
  targets: Arrays,
  info: DataInfo,
  read: report_arrays.Read,
) -> Arrays:
  del info
  return report_arrays.regression(
    split, targets["target"], rows["prediction"], read
  )


REGRESSION = TaskKind(
  make=regression,
  data_arguments={
    **INPUT_ARGUMENTS,
    "target_normalization": lambda info: info.schema.target_normalization,
    "target_offset": lambda info: info.schema.target_offset,
    "target_transform": lambda info: info.schema.target_transform,
    "transformed_normalization": lambda info: (
      info.schema.transformed_normalization
    ),
  },
  model_arguments=lambda info: {"num_classes": 1},
  problem_type="regression",
  check_data=_check_data,
  to_json=_to_json,
  report_arrays=_report_arrays,
  assessable=Assessable(NUMBERS, "target", dict, _trivial),
  pipeline_tags={"tables": "tabular-regression"},
)

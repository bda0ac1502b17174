"""Tasks that apply one model to one input.

`make_task` provides init, loss, evaluation and prediction. A kind of task adds
functions of the model's outputs: the loss and the metrics of single examples,
and the prediction. `regression` is the shortest example.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dlcore.data.info import Normalization
from dlcore.errors import UserError
from dlcore.metrics import weighted, weights
from dlcore.task import Task, no_metrics
from dlcore.tasks import model_calls
from dlcore.typing import Array, Batch, Metrics, ModelState, Params

Values = Array | tuple[Array, Array]
"""Values `[B, ...]`, or `(values, weights)` of one shape. A plain array has
weights of 1. Only values with a weight above 0 have to be finite."""


def mean_outputs(outputs: Sequence[Array]) -> Array:
  """Returns the mean of the outputs of all views, each `[B, ...]`."""
  return outputs[0] if len(outputs) == 1 else jnp.mean(jnp.stack(outputs), 0)


def no_sums(outputs: Array, batch: Batch, weights: Array) -> Metrics:
  """Returns an empty dict: the default of `make_task(sums=)`."""
  del outputs, batch, weights
  return {}


def make_task(
  model: Any,
  *,
  input: str,  # noqa: A002  the name of the array in the batch
  loss: Callable[[Array, Batch], Values],
  metrics: Callable[[Array, Batch], Mapping[str, Values]],
  predict: Callable[[Array], Mapping[str, Array]],
  normalization: Normalization | None = None,
  output_shape: Sequence[str | int] = ("B", "C"),
  views: Sequence[Callable[[Array], Sequence[Array]]] = (),
  combine: Callable[[Sequence[Array]], Array] = mean_outputs,
  sums: Callable[[Array, Batch, Array], Metrics] = no_sums,
  derived: Callable[[Metrics], dict[str, float]] = no_metrics,
  score: Callable[[Any, Any], dict[str, float]] | None = None,
) -> Task:
  """Returns a task from functions of the outputs of a model.

  `loss` and `metrics` receive batches whose masked rows are zeros, so that a
  NaN in them reaches no gradient. The trainer follows the gradient of the
  weighted mean of `loss`.

  Args:
    model: `apply(variables, inputs, train=...) -> outputs`.
    input: the array of the batch that the model receives; with "input_ids"
      also `attention_mask` and `token_type_ids`, if the batch has them.
    loss: `(outputs, batch) -> values [B, ...]`, with weights if examples or
      positions do not count alike.
    metrics: `(outputs, batch) -> {name: values [B, ...]}`, for training and
      evaluation; the values are summed over all axes. A name that starts with
      an underscore is an input of `derived` only.
    predict: `outputs -> {name: [B, ...]}`, one row for each example.
    normalization: mean and deviation of the input, see
      `model_calls.make_inputs`.
    output_shape: of the outputs, a letter for an axis of any size.
    views: functions from the inputs to other versions of them. Evaluation and
      prediction apply the model to all versions.
    combine: the outputs of all versions -> the outputs that `metrics` and
      `predict` receive in evaluation and prediction.
    sums: `(outputs, batch, weights [B]) -> {name: (sum, count)}`, further
      sums, which may be arrays; inputs of `derived`, so that their names start
      with an underscore.
    derived: see `Task.derived`.
    score: see `Task.score`.

  Raises:
    UserError: from the functions of the task, if the model takes other inputs
      or has outputs of another shape.
  """
  inputs = model_calls.make_inputs(input, normalization)

  def init(key: Array, batch: Batch):
    tokens = model_calls.token_arguments(input, batch, model)
    return model_calls.init(model, key, inputs(batch), **tokens)

  def apply(
    params: Params, model_state: ModelState, values: Array, batch: Batch, **rest
  ):
    tokens = model_calls.token_arguments(input, batch, model)
    outputs, model_state = model_calls.apply(
      model, params, model_state, values, **tokens, **rest
    )
    outputs = model_calls.check_output(model, outputs, output_shape)
    return outputs, model_state

  def measure(outputs: Array, batch: Batch) -> Metrics:
    values = _checked_mapping("metrics", metrics(outputs, batch))
    for name in values:
      if "/" in name:
        raise UserError(
          "expected metric names without '/', which separates the split",
          f"got {name!r}",
          f"use {name.replace('/', '_')!r}",
        )
    totals = {
      name: _total(f"metric {name!r}", value, outputs, batch)
      for name, value in values.items()
    }
    factors = weights(batch, outputs.shape[0])
    return totals | dict(sums(outputs, batch, factors))

  def loss_of_batch(
    params: Params, model_state: ModelState, batch: Batch, key: Array
  ):
    outputs, new_state = apply(
      params, model_state, inputs(batch), batch, key=key, train=True
    )
    batch = _mask_batch(batch)
    total = _total("loss", loss(outputs, batch), outputs, batch)
    return total, (new_state, measure(outputs, batch))

  def combined(params: Params, model_state: ModelState, batch: Batch) -> Array:
    versions = [inputs(batch)]
    for view in views:
      versions = [new for version in versions for new in view(version)]
    return combine(
      [
        apply(params, model_state, version, batch, train=False)[0]
        for version in versions
      ]
    )

  def evaluate(params: Params, model_state: ModelState, batch: Batch, key):
    del key
    outputs = combined(params, model_state, batch)
    return model_state, measure(outputs, _mask_batch(batch))

  def predict_rows(params: Params, model_state: ModelState, batch: Batch, key):
    del key
    rows = predict(combined(params, model_state, batch))
    return dict(_checked_mapping("predict", rows))

  return Task(
    init=init,
    loss=loss_of_batch,
    evaluate=evaluate,
    predict=predict_rows,
    derived=derived,
    score=score,
  )


def _checked_mapping(name: str, values: Any) -> Mapping[str, Any]:
  """Returns the result of the function `name`, which has to be a mapping."""
  if isinstance(values, Mapping):
    return values
  got = type(values).__name__
  if isinstance(values, jax.Array):  # Or a tracer.
    got = "an array"
  raise UserError(
    f"expected {name} to return arrays [B, ...] by name", f"got {got}"
  )


def _total(
  name: str, values: Values, outputs: Array, batch: Batch
) -> tuple[Array, Array]:
  """Returns the weighted sum of `values` and the sum of the weights.

  Raises:
    UserError: the values are not `[B, ...]`, or the weights of another shape.
  """
  values, factors = values if isinstance(values, tuple) else (values, None)
  size, shape = outputs.shape[0], jnp.shape(values)
  of_weights = shape if factors is None else jnp.shape(factors)
  if shape[:1] != (size,) or of_weights != shape:
    others = "" if of_weights == shape else f", and weights of {of_weights}"
    raise UserError(
      f"expected {name} to be values [B, ...], with B = {size}, and weights of "
      "the same shape, if any",
      f"got values of the shape {shape}{others}",
      "return a value for each example; the trainer computes their mean",
    )
  mask = weights(batch, size)
  mask = mask.reshape(-1, *[1] * (values.ndim - 1))
  if factors is None:
    return weighted(values, jnp.broadcast_to(mask, values.shape))
  return weighted(values, mask * factors)


def _mask_batch(batch: Batch) -> Batch:
  """Returns the batch with zeros in the rows that its mask excludes."""
  return model_calls.NamedArrays(
    (
      name,
      array
      if name == "mask"
      else model_calls.mask_rows(jnp.asarray(array), batch),
    )
    for name, array in batch.items()
  )

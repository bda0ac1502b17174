"""A task whose batches have the features of a frozen model."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dlcore import layers
from dlcore.task import Task
from dlcore.typing import Array, Batch, ModelState, Params

HEAD_INPUT = "head_input"
"""Key of the features in a batch, `[B, D]`."""


def feature_path(
  task: Task, params: Params, model_state: ModelState, batch: Batch
) -> str:
  """Returns the path of the layer that takes the features of an example.

  Args:
    task: the learning problem.
    params, model_state, batch: arrays or their shapes.

  Returns:
    The path, see `layers.HeadInput`; "" if the model has no output layer, or
    one that is applied to each position.
  """
  with layers.recorded_head_input() as found:
    jax.eval_shape(task.predict, params, model_state, batch, jax.random.key(0))
  is_row = found.value is not None and found.value.ndim == 2
  return found.path if is_row else ""


def predicting_features(task: Task) -> Task:
  """Returns a task whose predictions are the features of the model.

  `predict` returns `{"head_input": [B, D]}` in the dtype of the computation.
  """

  def predict(params: Params, model_state: ModelState, batch: Batch, key):
    with layers.recorded_head_input() as found:
      task.predict(params, model_state, batch, key)
    return {HEAD_INPUT: found.value}

  return task._replace(predict=predict)


def on_features(
  task: Task, path: str, inputs: Mapping[str, tuple[tuple[int, ...], Any]]
) -> Task:
  """Returns `task` for batches that have features in place of the inputs.

  The state of the task is the same. Under `jax.jit` the layers before the
  features are not computed. They must be frozen: in training, their dropout is
  off and batch norms use their running statistics.

  Args:
    task: the learning problem, whose loss uses the inputs in the model only.
    path: see `feature_path`.
    inputs: shape without B and dtype of the inputs, by name.
  """

  def with_inputs(batch: Batch) -> Batch:
    size = batch[HEAD_INPUT].shape[0]
    zeros = {
      name: jnp.zeros((size, *shape), dtype)
      for name, (shape, dtype) in inputs.items()
    }
    return {**zeros, **{k: x for k, x in batch.items() if k != HEAD_INPUT}}

  def replaced(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(params: Params, model_state: ModelState, batch: Batch, key: Array):
      with layers.replaced_input(path, batch[HEAD_INPUT]):
        return function(params, model_state, with_inputs(batch), key)

    return call

  return task._replace(
    init=lambda key, batch: task.init(key, with_inputs(batch)),
    loss=replaced(task.loss),
    evaluate=replaced(task.evaluate),
    predict=replaced(task.predict),
  )

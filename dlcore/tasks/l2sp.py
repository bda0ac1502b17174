"""A penalty on the distance of parameters from those at the start."""

import re
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from dlcore import trees
from dlcore.task import FROZEN, Task
from dlcore.tasks.class_loss import check_not_negative
from dlcore.typing import Array, Batch, ModelState, Params

START = "start"
"""Key of the first values among the frozen parameters."""


def l2sp(
  task: Task, alpha: Array | float, beta: Array | float, new: str
) -> Task:
  """Returns `task` with a penalty on the distance from the start.

  The loss has `alpha / 2 |w - w0|^2 + beta / 2 |v|^2` for parameters w that
  begin at w0, and new ones v (Li et al. 2018, arXiv:1802.01483). Metrics have
  no penalty.

  Args:
    task: the learning problem, without frozen parameters.
    alpha: at least 0, a number or a traced scalar.
    beta: likewise.
    new: regular expression over the paths of v; an empty one matches none.

  Raises:
    UserError: a factor is out of range.
  """
  check_not_negative("alpha", alpha)
  check_not_negative("beta", beta)

  def begin(params: Params, model_state: ModelState):
    """Returns the state of the task whose start are `params`."""
    if FROZEN in model_state:
      raise ValueError("expected a task without frozen parameters")
    start = {
      path: leaf
      for path, leaf in trees.flatten(params).items()
      if not (new and re.search(new, path))
    }
    # Copies, since the trainer donates the parameters.
    kept = trees.nest({path: jnp.array(leaf) for path, leaf in start.items()})
    return params, {**model_state, FROZEN: {START: kept}}

  def rest(model_state: ModelState) -> dict[str, Any]:
    return {name: tree for name, tree in model_state.items() if name != FROZEN}

  def penalty(params: Params, model_state: ModelState) -> Array:
    start = trees.flatten(model_state[FROZEN][START])
    total = jnp.float32(0)
    for path, leaf in trees.flatten(params).items():
      factor = alpha if path in start else beta
      difference = leaf - start.get(path, 0.0)
      total = total + factor / 2 * jnp.sum(jnp.square(difference))
    return total

  def loss(params: Params, model_state: ModelState, batch: Batch, key: Array):
    result = task.loss(params, rest(model_state), batch, key)
    (total, weight), (new_state, metrics) = result
    total = total + weight * penalty(params, model_state)
    new_state = {**new_state, FROZEN: model_state[FROZEN]}
    return (total, weight), (new_state, metrics)

  def evaluate(params: Params, model_state: ModelState, batch: Batch, key):
    new_state, metrics = task.evaluate(params, rest(model_state), batch, key)
    return {**new_state, FROZEN: model_state[FROZEN]}, metrics

  def prepare(params: Params, model_state: ModelState, batch: Batch, key):
    new_state, batch = task.prepare(params, rest(model_state), batch, key)
    return {**new_state, FROZEN: model_state[FROZEN]}, batch

  def predict(params: Params, model_state: ModelState, batch: Batch, key):
    return task.predict(params, rest(model_state), batch, key)

  def with_variables(
    params: Params, model_state: ModelState, variables: Mapping[str, Any]
  ):
    return begin(*task.with_variables(params, rest(model_state), variables))

  return task._replace(
    init=lambda key, batch: begin(*task.init(key, batch)),
    loss=loss,
    evaluate=evaluate,
    prepare=prepare,
    predict=predict,
    variables=lambda params, state: task.variables(params, rest(state)),
    with_variables=with_variables,
  )

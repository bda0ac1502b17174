"""Transformations of tasks, and the variables of a trained model."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from dlcore import layers, optim, trees
from dlcore.errors import UserError, check_pattern
from dlcore.task import FROZEN, Task
from dlcore.typing import Array, Batch, ModelState, Params

Augment = Callable[[Array, Batch], Batch]
"""`(key, batch) -> batch`, see `augment.compose`."""


def augmented(task: Task, augment: Augment | None) -> Task:
  """Returns `task` with training batches augmented before `task.prepare`.

  Args:
    task: the learning problem.
    augment: `(key, batch) -> batch`; None returns `task` itself.
  """
  if augment is None:
    return task

  def prepare(params: Params, model_state: ModelState, batch: Batch, key):
    augment_key, prepare_key = jax.random.split(key)
    batch = augment(augment_key, batch)
    return task.prepare(params, model_state, batch, prepare_key)

  return task._replace(prepare=prepare)


def scaled(task: Task, scales: Mapping[str, optim.Scale]) -> Task:
  """Returns `task` with its initial parameters scaled by path.

  Args:
    task: the learning problem.
    scales: see `optim.width_scales`; `{}` returns `task` itself.
  """
  if not scales:
    return task

  def init(key: Array, batch: Batch):
    params, model_state = task.init(key, batch)
    return optim.with_initial_scales(params, scales), model_state

  return task._replace(init=init)


def freeze(task: Task, pattern: str) -> Task:
  """Returns `task` with some parameters moved to `model_state["frozen"]`.

  They are not differentiated, have no optimizer state, and no share in norms
  and penalties. In training, frozen batch norms use their running statistics,
  and dropout in frozen modules is off; see `layers.frozen`.

  Args:
    task: the learning problem.
    pattern: regular expression; parameters whose path it matches anywhere are
      frozen, such as `"^(?!head/)"` for all but the head. An empty one returns
      `task` itself.

  Raises:
    UserError: `pattern` is not a regular expression; from `init`, if it
      matches no parameter or all of them.
  """
  if not pattern:
    return task
  check_pattern("freeze", pattern)

  def init(key: Array, batch: Batch):
    params, model_state = task.init(key, batch)
    if FROZEN in model_state:
      raise ValueError("freeze a task once, with a pattern for all of it")
    trained, frozen = trees.partition(params, pattern)
    _check_matches(pattern, trained, frozen, params)
    return trained, {**model_state, FROZEN: frozen}

  def loss(params: Params, model_state: ModelState, batch: Batch, key: Array):
    with layers.frozen(pattern):
      whole, rest = _thaw(params, model_state)
      result, (new_state, metrics) = task.loss(whole, rest, batch, key)
    return result, (_refreeze(new_state, model_state), metrics)

  def evaluate(params: Params, model_state: ModelState, batch: Batch, key):
    whole, rest = _thaw(params, model_state)
    new_state, metrics = task.evaluate(whole, rest, batch, key)
    return _refreeze(new_state, model_state), metrics

  def predict(params: Params, model_state: ModelState, batch: Batch, key):
    return task.predict(*_thaw(params, model_state), batch, key)

  def prepare(params: Params, model_state: ModelState, batch: Batch, key):
    whole, rest = _thaw(params, model_state)
    new_state, batch = task.prepare(whole, rest, batch, key)
    return _refreeze(new_state, model_state), batch

  def variables(params: Params, model_state: ModelState):
    return task.variables(*_thaw(params, model_state))

  return task._replace(
    init=init,
    loss=loss,
    evaluate=evaluate,
    predict=predict,
    prepare=prepare,
    variables=variables,
  )


def variables(task: Task, state: Any) -> dict[str, Any]:
  """Returns the variables that the model's own `apply` takes.

  Args:
    task: the learning problem.
    state: its `training.State`. The weights are those of its evaluation:
      `state.average`, or the average of a schedule-free optimizer, if any.
  """
  average = {
    "params": optim.evaluation_params(state.opt_state, state.params),
    **state.average,
  }
  params, model_state = average.pop("params"), dict(state.model_state)
  return task.variables(params, {**model_state, **average})


def _thaw(
  params: Params, model_state: ModelState
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns all parameters, and the other collections."""
  rest = {name: tree for name, tree in model_state.items() if name != FROZEN}
  return trees.merge(params, model_state[FROZEN]), rest


def _refreeze(new_state: ModelState, old_state: ModelState) -> dict[str, Any]:
  return {**new_state, FROZEN: old_state[FROZEN]}


def _check_matches(pattern: str, trained, frozen, params: Params) -> None:
  if trained and frozen:
    return
  matches = "all of them" if frozen else "no path"
  paths = list(trees.flatten(params))
  raise UserError(
    "expected freeze to match the paths of some parameters",
    f"got {pattern!r}, which matches {matches}",
    f"the paths are {', '.join(paths[:6])}{', ...' if paths[6:] else ''}",
  )

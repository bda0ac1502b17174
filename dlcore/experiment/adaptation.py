"""The strategy of the config's section `init`: the trained parameters."""

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dlcore import data, transfer, trees
from dlcore.errors import UserError
from dlcore.experiment.defaults import own_settings
from dlcore.experiment.example_inputs import example_inputs
from dlcore.experiment.qualification import qualify
from dlcore.task import CARRY, Task

Rates = Sequence[tuple[str, float]]
"""Patterns over parameter paths, and multipliers of the learning rate."""

logger = logging.getLogger("dlcore")


def strategy(config: Mapping[str, Any]) -> transfer.Strategy:
  """Returns the phases of the strategy of the config.

  Raises:
    UserError: a setting is out of range.
  """
  section = config["init"]["strategy"]
  make = transfer.STRATEGIES[section["name"]]
  with qualify("init.strategy", section):
    return make(**own_settings(section, "init.strategy"))


def loads_source(section: Mapping[str, Any]) -> bool:
  """Returns whether a run begins with the weights of `init.source`.

  Args:
    section: the config's section `init`.
  """
  return bool(section["source"]) and strategy({"init": section})[0].loads


def phase_steps(phases: transfer.Strategy, steps: int) -> list[int]:
  """Returns the number of steps of each phase, which add up to `steps`.

  Raises:
    UserError: there are fewer steps than phases.
  """
  if steps < len(phases):
    raise UserError(
      f"expected training.steps of at least {len(phases)}, the phases of "
      "init.strategy",
      f"got {steps}",
    )
  ends = [
    round(steps * sum(phase.share for phase in phases[: i + 1]))
    for i in range(len(phases))
  ]
  # Every phase has a step at least.
  ends = [max(end, i + 1) for i, end in enumerate(ends)]
  ends = [min(end, steps - len(ends) + i + 1) for i, end in enumerate(ends)]
  return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def adapted_task(
  config: Mapping[str, Any],
  task: Task,
  info: data.DataInfo,
  phase: transfer.Adaptation,
) -> Task:
  """Returns a task as a phase of the strategy changes it.

  Args:
    config: the complete tree.
    task: of all parameters.
    info: of train.
    phase: of the strategy.

  Raises:
    UserError: a setting is out of range or does not fit the model.
  """
  name = config["init"]["strategy"]["name"]
  phase.check_data(info)
  adapted = phase.task(task, layers_of(task, info))
  if adapted is not task and config["optim"]["freeze"]:
    raise UserError(
      "expected init.strategy or optim.freeze, since both freeze parameters",
      f"got the strategy {name!r} and optim.freeze={config['optim']['freeze']}",
      "leave one of them out",
    )
  return adapted


def warn_of_random_weights(config: Mapping[str, Any]) -> None:
  """Warns if a strategy freezes weights that no source replaces."""
  section = config["init"]
  if strategy(config)[-1].freezes and not section["source"]:
    logger.warning(
      "the strategy %r without init.source leaves random weights frozen",
      section["strategy"]["name"],
    )


def paths_of(task: Task, info: data.DataInfo) -> tuple[str, ...]:
  """Returns the paths of all parameters of a task's model, frozen ones too."""
  key = jax.random.key(0)
  state = jax.eval_shape(task.init, key, example_inputs(info))
  return tuple(trees.flatten(jax.eval_shape(task.variables, *state)["params"]))


def layers_of(
  task: Task, info: data.DataInfo
) -> Callable[[], Sequence[transfer.Layer]]:
  """Returns a function that returns the layers of the task's model."""

  @functools.cache
  def layers() -> Sequence[transfer.Layer]:
    key = jax.random.key(0)
    params, state = jax.eval_shape(lambda: task.init(key, example_inputs(info)))

    def predict(params: Any) -> Any:
      model_state = {
        name: jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), tree)
        for name, tree in state.items()
        if name != CARRY
      }
      return task.predict(params, model_state, example_inputs(info), key)

    return transfer.layer_order(predict, params)

  return layers

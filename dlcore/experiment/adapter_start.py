"""The setting `init.adapter`: a folder of PEFT with which a run begins."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from dlcore import data, transfer, trees
from dlcore.errors import UserError
from dlcore.experiment.entry_settings import settings
from dlcore.experiment.example_inputs import example_inputs
from dlcore.experiment.folder import RunFolder
from dlcore.task import FROZEN, Task
from dlcore.transfer import stacked_blocks
from dlcore.typing import Initial, ModelState, PyTree

LORA = "lora"
"""The strategy that trains adapters."""

DECIDING = ("pattern", "rank", "alpha", "rank_stabilized", "dora")
"""Settings of the strategy that must be those of the folder."""

logger = logging.getLogger("dlcore")


class Start(NamedTuple):
  """How a run begins."""

  initial: Initial
  """Replaces the random state of the task."""

  variables: PyTree
  """The weights: those of `init.source`, or with merged adapters."""

  replaced: Mapping[str, np.ndarray] = {}
  """Arrays of the folder that replace those of the source, by path."""


def begin(
  section: Mapping[str, Any], model: Any, variables: PyTree, task: Task
) -> Start:
  """Returns how a run begins.

  With the strategy "lora" the adapters of `init.adapter` are trained further;
  with others they are merged into the weights.

  Args:
    section: the config's section `init`.
    model: the model of the run.
    variables: the weights of `init.source`.
    task: the task of the model.

  Raises:
    UserError: the folder is invalid, or a setting is not that of the folder.
  """
  if not section["adapter"]:
    return Start(transfer.initial(variables, task), variables)
  adapters = transfer.load_adapters(section["adapter"], model, variables)
  if section["strategy"]["name"] != LORA:
    logger.info("init.adapter: merged %d updates", len(adapters.updates))
    merged = adapters.merged()
    return Start(transfer.initial(merged, task), merged, _replaced(adapters))
  for name in DECIDING:
    _check(name, adapters.settings[name], section["strategy"][name])
  return Start(adapters.initial(task), variables, _replaced(adapters))


def checkpoints_hold(
  section: Mapping[str, Any], start: Start, model_state: ModelState
) -> bool:
  """Returns whether the checkpoints of a run hold all of `init.adapter`.

  The strategy "lora" trains the adapters. The arrays that replace those of the
  source may be frozen, if `trained` does not match them.

  Args:
    section: the config's section `init`.
    start: how the run begins.
    model_state: of the task, at the start.
  """
  if section["strategy"]["name"] != LORA:
    return False
  frozen = trees.flatten({"params": model_state.get(FROZEN, {})})
  return start.replaced.keys().isdisjoint(stacked_blocks.slices(frozen))


def _replaced(adapters: transfer.Adapters) -> dict[str, np.ndarray]:
  """Returns the arrays of a folder that replace those of the source."""
  leaves = trees.flatten(adapters.variables)
  parts = stacked_blocks.slices(leaves)
  return {
    path: np.asarray(leaves[parts[path].leaf][parts[path].index])
    for path in adapters.replaced
  }


def check_source(section: Mapping[str, Any]) -> None:
  """Checks that there are weights to which the adapters belong.

  Raises:
    UserError: `init.adapter` is set without `init.source`.
  """
  if section["adapter"] and not section["source"]:
    raise UserError(
      "expected init.source, the weights that init.adapter belongs to",
      f"got init.adapter={section['adapter']!r} without it",
      "set init.source to the base model of the adapter",
    )


def check_strategy(
  section: Mapping[str, Any], phases: transfer.Strategy
) -> None:
  """Checks that the run begins with the weights of the adapters.

  Args:
    section: the config's section `init`.
    phases: of its strategy.

  Raises:
    UserError: `init.adapter` is set, and all weights are random.
  """
  if section["adapter"] and not phases[0].loads:
    raise UserError(
      "expected a strategy that begins with the weights of init.source, to "
      "which init.adapter belongs",
      f"got init.strategy={section['strategy']['name']}, which begins with "
      "random ones",
      "leave init.adapter out, or choose another init.strategy",
    )


def with_settings(
  config: Mapping[str, Any],
  info: data.DataInfo,
  build_task: Callable[..., tuple[Any, Task]],
) -> Mapping[str, Any]:
  """Returns a config whose strategy has the settings of `init.adapter`.

  A pattern other than the default is taken as a sign that it has them already:
  a run needs the folder only at its start.

  Args:
    config: the complete tree.
    info: of train.
    build_task: `(config, info) -> (model, task)`.

  Raises:
    UserError: the folder is invalid, or a setting is neither the default nor
      that of the folder.
  """
  section = config["init"]
  check_source(section)
  if not _is_open(section):
    return config
  full = {**section, "adapter": "", "strategy": {"name": "full"}}
  model, task = build_task({**config, "init": full}, info)
  of_folder = transfer.adapter_settings(
    section["adapter"], model, _shapes(task, info)
  )
  defaults, strategy = settings("init.strategy", LORA), section["strategy"]
  for name in DECIDING:
    if strategy[name] != defaults[name]:
      _check(name, of_folder[name], strategy[name])
  taken = {
    name: value
    for name, value in of_folder.items()
    if strategy[name] == defaults[name]
  }
  described = ", ".join(f"{name}={value!r}" for name, value in taken.items())
  logger.info("init.strategy from %s: %s", section["adapter"], described)
  return _with_strategy(config, taken)


def continued(
  folder: RunFolder, config: Mapping[str, Any]
) -> Mapping[str, Any]:
  """Returns a config with the settings that a run took from `init.adapter`.

  Args:
    folder: of the run, which may not have begun.
    config: of the command.
  """
  if not _is_open(config["init"]) or not folder.has_begun():
    return config
  before = folder.config()["init"]
  if not _is_lora(before) or before["adapter"] != config["init"]["adapter"]:
    return config
  defaults, strategy = (
    settings("init.strategy", LORA),
    config["init"]["strategy"],
  )
  taken = {
    name: before["strategy"][name]
    for name, value in strategy.items()
    if name in defaults and value == defaults[name]
  }
  return _with_strategy(config, taken)


def _is_lora(section: Mapping[str, Any]) -> bool:
  return bool(section["adapter"]) and section["strategy"]["name"] == LORA


def _is_open(section: Mapping[str, Any]) -> bool:
  """Returns whether the settings of a folder are still to be taken."""
  default = settings("init.strategy", LORA)["pattern"]
  return _is_lora(section) and section["strategy"]["pattern"] == default


def _with_strategy(
  config: Mapping[str, Any], taken: Mapping[str, Any]
) -> dict[str, Any]:
  strategy = {**config["init"]["strategy"], **taken}
  return {**config, "init": {**config["init"], "strategy": strategy}}


def _check(name: str, expected: Any, got: Any) -> None:
  if got != expected:
    raise UserError(
      f"expected init.strategy.{name}={expected!r}, that of init.adapter",
      f"got {got!r}",
      "leave it out",
    )


def _shapes(task: Task, info: data.DataInfo) -> PyTree:
  """Returns the shapes of the variables of a task's model."""
  state = jax.eval_shape(task.init, jax.random.key(0), example_inputs(info))
  return jax.eval_shape(task.variables, *state)

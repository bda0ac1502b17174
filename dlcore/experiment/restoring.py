"""The parts of a run from its folder, and the variables of a checkpoint."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from dlcore import data, storage, tasks, training, trees
from dlcore.data.source import Arrays
from dlcore.errors import UserError
from dlcore.experiment.adaptation import strategy
from dlcore.experiment.example_inputs import example_inputs
from dlcore.experiment.folder import RunFolder
from dlcore.experiment.initial_weights import load_initial
from dlcore.experiment.registration import load_parts
from dlcore.experiment.task_building import build_task
from dlcore.experiment.vocabulary import limit_length
from dlcore.task import CARRY, FROZEN, Task
from dlcore.typing import ModelState, Params


class RestoredRun(NamedTuple):
  """The parts of a run, rebuilt without its data, and its variables."""

  folder: RunFolder
  config: Mapping[str, Any]
  """The complete config, empty for a run of `training.fit`."""

  info: data.DataInfo
  model: Any
  task: Task
  params: Params

  model_state: ModelState
  """With an empty `carry` if the task has one."""

  to_json: Callable[[Arrays, data.DataInfo], dict[str, Any]]
  """Returns one prediction as JSON data, see `tasks.TaskKind`."""

  step: int | None = None
  """The checkpoint."""

  @property
  def prediction_state(self) -> ModelState:
    """`model_state` as `Task.predict` takes it, without `carry`."""
    return {k: v for k, v in self.model_state.items() if k != CARRY}


def restore_run(workdir: str | Path, step: int | None) -> RestoredRun:
  """Rebuilds a run from its folder.

  Args:
    workdir: the run folder. A run of `training.fit` needs a module of
      `--import` as well.
    step: the checkpoint; None for the best.

  Raises:
    UserError: the folder is not a run with a finished checkpoint.
  """
  folder = RunFolder(workdir)
  settings = folder.fit_settings()
  if settings is None:
    config, info = folder.config(), folder.info()
    model, task = build_task(config, info, folder.tuned())
    to_json = tasks.TASKS[config["task"]["name"]].to_json
  else:
    parts, config, info = load_parts(settings, workdir), {}, folder.info()
    model, task, to_json = parts.model, parts.task, arrays_to_json
  step = folder.select_step(step)
  variables = restore_variables(folder, step, model, task, info)
  info = limit_length(info, model, task.init)
  return RestoredRun(
    folder, config, info, model, task, *variables, to_json, step
  )


def arrays_to_json(row: Arrays, info: data.DataInfo) -> dict[str, Any]:
  """Returns a prediction of any task as JSON data."""
  del info
  return {name: np.asarray(value).tolist() for name, value in row.items()}


def restore_variables(
  folder: RunFolder, step: int, model: Any, task: Task, info: data.DataInfo
) -> tuple[Params, ModelState]:
  """Returns the `(params, model_state)` that evaluation uses.

  Averaged weights and statistics take the place of the others. The `carry` of a
  task that has one is empty: each evaluation starts from its own. Frozen
  parameters that the checkpoint does not hold are those of `init.source`.

  Args:
    folder: of the run.
    step: the checkpoint.
    model: built from the run's config.
    task: of the model.
    info: of the run's data.

  Raises:
    UserError: they belong to another model, or to other data; or the weights of
      `init.source` are missing or have changed.
  """
  state = storage.read_checkpoint(folder.checkpoints, step)["state"]
  template = jax.eval_shape(task.init, jax.random.key(0), example_inputs(info))
  average = dict(state.get("average", {}))
  params = trees.flatten(state["params"])
  params |= trees.flatten(average.pop("params", {}))
  collections = trees.flatten(state.get("model_state", {}))
  collections |= trees.flatten(average)
  carry = f"{CARRY}/"
  collections = {
    name: leaf
    for name, leaf in collections.items()
    if not name.startswith(carry)
  }
  template_params, template_state = template
  empty_carry = {CARRY: {}} if CARRY in template_state else {}
  template_state = {k: v for k, v in template_state.items() if k != CARRY}
  # Version 0.1 kept frozen parameters among the others.
  frozen = trees.flatten({FROZEN: template_state.get(FROZEN, {})})
  for name in frozen:
    if (own := name.removeprefix(f"{FROZEN}/")) in params:
      collections[name] = params.pop(own)
  if frozen and not frozen.keys() & collections.keys():
    collections |= trees.flatten(_loaded_frozen(folder, model, task, info))
  try:
    return trees.restore(template_params, params), {
      **trees.restore(template_state, collections),
      **empty_carry,
    }
  except ValueError as error:
    raise UserError(
      f"expected the parameters in {folder.path} to fit config.json and "
      "data.json",
      f"got: {error}",
      "put good copies of these files back, or train in another --workdir",
    ) from error


def variables_of_run(path: Path) -> Mapping[str, Any] | None:
  """Returns the variables of the model of a run with frozen parameters.

  Returns:
    Those of the best checkpoint. None for other runs, whose checkpoints hold
    all variables under their own names, and for other folders.
  """
  folder = RunFolder(path)
  try:
    if not folder.has_checkpoints() or folder.fit_settings() is not None:
      return None
    config = folder.config()
  except UserError:  # Loading the weights raises it, if they need the config.
    return None
  if not strategy(config)[-1].freezes and not config["optim"]["freeze"]:
    return None
  run = restore_run(path, None)
  return run.task.variables(run.params, run.prediction_state)


def _loaded_frozen(
  folder: RunFolder, model: Any, task: Task, info: data.DataInfo
) -> dict[str, Any]:
  """Returns the frozen parameters with which a run began, as a collection."""
  if folder.fit_settings() is not None:
    return {}
  config = folder.config()
  load = load_initial(
    config["init"], model, task, folder.path, variables_of_run
  )
  if load is None:
    return {}
  init = functools.partial(training.init_variables, task, seed=config["seed"])
  _, model_state = load(*jax.jit(init)(example_inputs(info)))
  return {FROZEN: model_state[FROZEN]}

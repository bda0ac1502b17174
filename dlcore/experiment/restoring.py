"""The parts of a run from its folder, and the variables of a checkpoint."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from dlcore import data, storage, tasks, trees
from dlcore.data.source import Arrays
from dlcore.errors import UserError
from dlcore.experiment.build import build_task
from dlcore.experiment.folder import RunFolder
from dlcore.experiment.registration import load_parts
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
  state = storage.read_checkpoint(folder.checkpoints, step)["state"]
  variables = restore_variables(task, info, state, folder.path)
  info = limit_length(info, model, task.init)
  return RestoredRun(folder, config, info, model, task, *variables, to_json)


def arrays_to_json(row: Arrays, info: data.DataInfo) -> dict[str, Any]:
  """Returns a prediction of any task as JSON data."""
  del info
  return {name: np.asarray(value).tolist() for name, value in row.items()}


def restore_variables(
  task: Task, info: data.DataInfo, state: Mapping[str, Any], path: Path
) -> tuple[Params, ModelState]:
  """Returns the `(params, model_state)` that evaluation uses.

  Averaged weights and statistics take the place of the others. The `carry` of a
  task that has one is empty: each evaluation starts from its own.

  Args:
    task: built from the run's config.
    info: of the run's data.
    state: the nested dicts of a checkpoint, see `storage.read_checkpoint`.
    path: of the run, for the message.

  Raises:
    UserError: they belong to another model, or to other data.
  """
  # JAX would warn about 64 bits, which it converts to 32.
  dtype_of = jax.dtypes.canonicalize_dtype
  batch = {
    name: jax.ShapeDtypeStruct((1, *shape), dtype_of(dtype))
    for name, (shape, dtype) in info.inputs.items()
  }
  template = jax.eval_shape(task.init, jax.random.key(0), batch)
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
  for name in trees.flatten(template_state.get(FROZEN, {})):
    if name in params:
      collections[f"{FROZEN}/{name}"] = params.pop(name)
  try:
    return trees.restore(template_params, params), {
      **trees.restore(template_state, collections),
      **empty_carry,
    }
  except ValueError as error:
    raise UserError(
      f"expected the parameters in {path} to fit config.json and data.json",
      f"got: {error}",
      "put good copies of these files back, or train in another --workdir",
    ) from error

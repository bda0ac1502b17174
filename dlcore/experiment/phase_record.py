"""What each phase of a run trains, for the report."""

from typing import Any

import jax

from dlcore import trees
from dlcore.experiment.build import Experiment
from dlcore.experiment.example_inputs import example_inputs
from dlcore.experiment.folder import PHASES, RunFolder
from dlcore.task import CARRY, FROZEN
from dlcore.tasks.lora import ADAPTERS
from dlcore.typing import ModelState, Params


def write_phases(folder: RunFolder, experiment: Experiment) -> None:
  """Writes `assets/phases.json`, if some parameters are frozen in a phase.

  It has the strategy, and for each phase steps, numbers of trained and frozen
  parameters, and the modules that are trained.
  """
  phases = [*experiment.earlier, experiment]
  records = [phase_record(phase) for phase in phases]
  if len(records) > 1 or records[0]["frozen"]:
    folder.write_json(PHASES, {"phases": records})


def phase_record(phase: Experiment) -> dict[str, Any]:
  """Returns strategy, steps and trained parameters of a phase as JSON data."""
  params, model_state = _shapes(phase)
  paths = trees.flatten(params)
  modules = dict.fromkeys(_module(path) for path in paths)
  return {
    "strategy": phase.config["init"]["strategy"]["name"],
    "steps": phase.steps,
    "trained": trees.count(params),
    "frozen": trees.count(model_state.get(FROZEN, {})),
    "modules": list(modules),
  }


def _shapes(phase: Experiment) -> tuple[Params, ModelState]:
  """Returns the shapes of the state of a task without its carry."""
  batch = example_inputs(phase.splits.train.info)
  params, state = jax.eval_shape(phase.task.init, jax.random.key(0), batch)
  return params, {k: tree for k, tree in state.items() if k != CARRY}


def _module(path: str) -> str:
  """Returns the outermost module of a parameter, of adapters marked as such."""
  parts = path.split("/")
  if parts[0] == ADAPTERS and len(parts) > 1:
    return f"{parts[1]} (adapters)"
  return parts[0]

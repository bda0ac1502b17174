"""Runs whose configs differ in numbers alone, as one population."""

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from dlcore import data, optim, tasks, training
from dlcore.experiment.build import (
  Experiment,
  phase_optimizer,
  plateau,
  schedule,
)
from dlcore.experiment.defaults import leaves
from dlcore.experiment.example_inputs import example_inputs
from dlcore.experiment.initial_weights import load_initial
from dlcore.experiment.overrides import set_leaf
from dlcore.experiment.restoring import variables_of_run
from dlcore.experiment.task_building import build_task
from dlcore.task import CARRY
from dlcore.training import Parts, Population
from dlcore.typing import Batch

CONVOLUTION = re.compile(r"\b(conv_general|\w*convolution)")
"""Primitives of convolutions in the text of a program, not `convert`."""


def with_numbers(
  config: Mapping[str, Any], numbers: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns a config with other numbers at some paths, which may be traced."""
  tree = copy.deepcopy(dict(config))
  for path, number in numbers.items():
    set_leaf(tree, path, number)
  return tree


def parts_builder(
  experiment: Experiment,
) -> Callable[[Mapping[str, Any]], Parts]:
  """Returns the function from numbers of the config to the parts of a step."""
  info = experiment.splits.train.info
  phase = experiment.phase

  def build_parts(hparams: Mapping[str, Any]) -> Parts:
    config = with_numbers(experiment.config, hparams)
    _, task = build_task(config, info, phase=phase)
    task = tasks.scaled(task, experiment.scales)
    learning_rate = schedule(config, experiment.steps, phase.rate)
    tx = phase_optimizer(
      config, learning_rate, phase, task, info, experiment.scales
    )
    section = config["optim"]
    penalty = optim.penalty(section["l1"], section["l2"], section["no_decay"])
    return Parts(task, tx, penalty)

  return build_parts


def why_not_together(experiment: Experiment) -> str:
  """Returns why a population cannot train an experiment, `""` if it can."""
  phase = experiment.phase
  if experiment.earlier:
    return f"the strategy has {len(experiment.earlier) + 1} phases"
  if phase.caches:
    return "the strategy caches features"
  if experiment.splits.valid is None or not phase.predicts:
    return "there is no validation split"
  if experiment.config["training"]["compile"] != "jit":
    return "training.compile is not 'jit'"
  example = example_inputs(experiment.splits.train.info)
  _, state = jax.eval_shape(experiment.task.init, jax.random.key(0), example)
  return "the task carries a state" if CARRY in state else ""


def varying_paths(experiment: Experiment, paths: Iterable[str]) -> list[str]:
  """Returns the paths of numbers that may differ within one program.

  A step is traced with each of them. Numbers on which Python branches, or that
  set shapes, do not trace.
  """
  values = leaves(experiment.config)
  numbers = [path for path in paths if type(values.get(path)) is float]
  batch = _first_batch(experiment)
  return [path for path in numbers if _traces(experiment, path, batch)]


def _first_batch(experiment: Experiment) -> Batch:
  """Returns the first batch `[B, ...]` of a run, on the host."""
  settings = experiment.settings_of(training.fit)
  order, source = settings["order"], experiment.splits.train
  rows = data.rows_to_arrays(order(settings["seed"], 0), mask=order.padded)
  return {**source.read(rows["index"]), **rows}


def _traces(experiment: Experiment, path: str, batch: Batch) -> bool:
  """Returns whether a step can be traced with a number at a path, and uses it.

  A number that it does not use, such as the number of epochs, acts elsewhere.
  """
  build_parts = parts_builder(experiment)
  accumulate = experiment.config["training"]["accumulate"]

  def step(number: Any, batch: Batch) -> Any:
    task, tx, penalty = build_parts({path: number})
    state = training.init_state(task, tx, batch, hparams={path: number})
    step = training.make_step(task, tx, penalty=penalty, accumulate=accumulate)
    return step(state, batch)

  number = jnp.float32(leaves(experiment.config)[path])
  try:
    program = jax.make_jaxpr(step)(number, batch).jaxpr
  except Exception:  # Of Python code that needs a concrete number.
    return False
  return any(
    program.invars[0] is var for eqn in program.eqns for var in eqn.invars
  )


def runs_alone(experiment: Experiment) -> bool:
  """Returns whether members are trained one after the other, not together.

  That is so for models with convolutions on CPU: XLA would make grouped ones
  for several members, which are slower.
  """
  if experiment.devices[0].platform != "cpu":
    return False
  batch = _first_batch(experiment)
  parts = parts_builder(experiment)({})
  state = jax.eval_shape(
    lambda batch: training.init_state(parts.task, parts.tx, batch), batch
  )
  step = training.make_step(parts.task, parts.tx)
  program = str(jax.make_jaxpr(step)(state, batch))
  return CONVOLUTION.search(program) is not None


def most_members(experiment: Experiment) -> int:
  """Returns how many members fit into half of the free memory."""
  memory = experiment.memory()
  each = memory.state + memory.gradients + memory.activations
  # Their best variables are kept too, at most another state.
  free = memory.free * (1 if memory.on_host else memory.num_devices)
  return max(int(free / 2 / (each + memory.state)), 1)


def build_population(experiment: Experiment, workdir: Path) -> Population:
  """Returns the population of runs of an experiment.

  Args:
    experiment: the common parts.
    workdir: folder in which the sources of the initial weights are noted.
  """
  config = experiment.config
  return Population(
    parts_builder(experiment),
    experiment.splits.train,
    experiment.splits.valid,
    plateau=plateau(config["optim"]["schedule"]),
    initial=load_initial(
      config["init"],
      experiment.model,
      experiment.task,
      workdir,
      variables_of_run,
    ),
    **{
      **experiment.settings_of(Population.__init__),
      "steps": experiment.steps,
    },
  )

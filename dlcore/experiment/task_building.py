"""From a config and the description of the data to the model and its task."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax.numpy as jnp

from dlcore import augment, data, models, sharding, tasks, transfer
from dlcore.errors import lookup
from dlcore.experiment.adaptation import adapted_task, strategy
from dlcore.experiment.defaults import own_settings
from dlcore.experiment.qualification import qualify
from dlcore.experiment.vocabulary import (
  VOCAB_SIZE,
  augmented_ids,
  check_length,
  vocabulary_arguments,
)
from dlcore.task import Task

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def build_task(
  config: Mapping[str, Any],
  info: data.DataInfo,
  tuned: Mapping[str, Any] | None = None,
  phase: transfer.Adaptation | None = None,
) -> tuple[Any, Task]:
  """Builds the model and its task for data that `info` describes.

  Args:
    config: the complete tree.
    info: of train.
    tuned: settings of the task that were chosen on the validation split.
    phase: of the strategy, by default the last one.

  Raises:
    UserError: the task or the model does not fit such data.
  """
  section = config["task"]
  kind = lookup(tasks.TASKS, section["name"], "task")
  kind.check_data(info)
  arguments = kind.model_arguments(info) | _numerics(config)
  # A task may need more token ids than the data has.
  size = arguments.pop(VOCAB_SIZE, info.schema.vocab_size)
  arguments |= vocabulary_arguments(config["model"]["name"], size)
  settings = own_settings(config["model"], "model")
  if both := arguments.keys() & settings.keys():
    raise ValueError(
      f"the data provides {sorted(both)}: add them to `provided` of the "
      'table "model" in entry_settings.py'
    )
  with qualify("model", config["model"]):
    model = models.create(config["model"]["name"], **arguments, **settings)
    check_length(model, info)
  with qualify("task", section):
    settings_of_task = own_settings(section, "task") | dict(tuned or {})
    task = kind.build(model, info, **settings_of_task)
  task = _qualified(task, "model", settings)
  task = _qualified(task, "task", section)
  with qualify("init.strategy", config["init"]["strategy"]):
    task = adapted_task(config, task, info, phase or strategy(config)[-1])
  with qualify("optim", ("freeze",)):
    task = tasks.freeze(task, config["optim"]["freeze"])
  with qualify("data.augment", config["data"]["augment"]):
    augmentation = augment.compose(
      config["data"]["augment"], augmented_ids(info)
    )
  task = tasks.augmented(task, augmentation)
  return model, _qualified(task, "data.augment", config["data"]["augment"])


def _qualified(task: Task, section: str, settings: Iterable[str]) -> Task:
  """Returns `task` with the section in the messages of its functions.

  A model checks some of its fields when it is applied, in a trace.
  """

  def qualified(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
      with qualify(section, settings):
        return function(*arguments)

    return call

  names = ("init", "loss", "evaluate", "predict", "prepare")
  functions = {name: qualified(getattr(task, name)) for name in names}
  return task._replace(**functions)


def _numerics(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the model's arguments that come from the section `training`."""
  section = config["training"]
  values: dict[str, Any] = {
    "dtype": lookup(DTYPES, section["dtype"], "training.dtype")
  }
  if section["compile"] == "pmap":
    values["axis_name"] = sharding.DATA_AXIS
  entry = models.MODELS[config["model"]["name"]]
  parameters = inspect.signature(entry).parameters
  return {key: value for key, value in values.items() if key in parameters}

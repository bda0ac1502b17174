"""From a config to the parts that it names.

Lower layers do not see the config.
"""

import contextlib
import dataclasses
import inspect
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dlcore import (
  augment,
  data,
  models,
  optim,
  sharding,
  tasks,
  training,
  transfer,
)
from dlcore.errors import UserError, lookup
from dlcore.experiment import adapter_start
from dlcore.experiment.adaptation import (
  Rates,
  adapted_task,
  layers_of,
  phase_steps,
  strategy,
  warn_of_random_weights,
)
from dlcore.experiment.defaults import own_settings
from dlcore.experiment.initial_weights import load_initial
from dlcore.experiment.qualification import qualify
from dlcore.experiment.vocabulary import (
  VOCAB_SIZE,
  augmented_ids,
  check_length,
  follow_vocabulary,
  vocabulary_arguments,
  with_local_tokenizers,
)
from dlcore.task import Task
from dlcore.typing import Schedule

MAX_STEPS = 2**31 - 1
"""The largest number of steps that an int32 counts."""

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


@dataclasses.dataclass(frozen=True)
class Experiment:
  """The parts of one experiment."""

  config: Mapping[str, Any]
  splits: data.Splits
  model: Any
  task: Task
  steps: int
  learning_rate: Schedule
  tx: optax.GradientTransformation
  devices: list[jax.Device]
  earlier: tuple["Experiment", ...] = ()
  """The phases before this one, the last of them, see `transfer.Strategy`."""

  def sources(self) -> dict[str, data.Source]:
    """Returns the splits that the data has, by name."""
    splits = self.splits._asdict().items()
    return {name: source for name, source in splits if source is not None}

  def fit(
    self,
    workdir: Path,
    *,
    assets: Path | None = None,
    before: tuple["Experiment", training.State] | None = None,
    **display: Any,
  ) -> training.Result:
    """Trains in a folder, or continues there.

    Args:
      workdir: of the log and the checkpoints.
      assets: the run folder, by default `workdir`.
      before: the phase before and its last state, from which this one begins;
        by default it begins with the weights of the config.
      **display: arguments of `training.fit`.
    """
    if before is None:
      warn_of_random_weights(self.config)
      initial = load_initial(
        self.config["init"], self.model, self.task, assets or workdir
      )
    else:
      phase, state = before
      initial = transfer.initial(tasks.variables(phase.task, state), self.task)
    arguments = {
      **self.settings_of(training.fit),
      "steps": self.steps,
      "workers": self.config["data"]["workers"],
      "plateau": plateau(self.config["optim"]["schedule"]),
      "initial": initial,
      "workdir": workdir,
    }
    if isinstance(arguments["order"], data.Bucketed):
      logging.getLogger("dlcore").info(arguments["order"].describe())
    with self.qualified():
      return training.fit(
        self.task,
        self.tx,
        self.splits.train,
        self.splits.valid,
        **arguments,
        **display,
      )

  def memory(self) -> training.MemoryEstimate:
    """Returns the estimate of the memory that `fit` takes."""
    settings = self.settings_of(training.preview_memory)
    with self.qualified():
      return training.preview_memory(
        self.task, self.tx, self.splits.train, **settings
      )

  def settings_of(self, function: Callable[..., Any]) -> dict[str, Any]:
    """Returns the arguments of `fit` that `function` has as well.

    Those are every leaf of `training` of the same name, and others.
    """
    loading, optimizer = self.config["data"], self.config["optim"]
    penalty = optim.penalty(
      optimizer["l1"], optimizer["l2"], optimizer["no_decay"]
    )
    order = lookup(data.SAMPLINGS, loading["sampling"], "data.sampling")
    settings = {
      **self.config["training"],
      "seed": self.config["seed"],
      "batch_size": loading["batch_size"],
      "order": order(self.splits.train, loading["batch_size"]),
      "placement": loading["placement"],
      "penalty": penalty,
      "compiler": self.config["training"]["compile"],
      "devices": self.devices,
    }
    names = inspect.signature(function).parameters
    return {name: settings[name] for name in settings if name in names}

  @contextlib.contextmanager
  def qualified(self) -> Iterator[None]:
    """Adds the sections of the config to messages that name arguments."""
    with (
      qualify("training", self.config["training"], compiler="compile"),
      qualify("data", ("batch_size", "placement", "sampling", "workers")),
      qualify("optim", ("freeze",)),
    ):
      yield

  def evaluator(self, source: data.Source) -> training.Evaluator:
    """Returns an evaluator of the task on `source`."""
    return training.Evaluator(
      self.task,
      source,
      seed=self.config["seed"],
      batch_size=self.config["training"]["eval_batch_size"],
      placement=self.config["data"]["placement"],
      # Evaluation rounds its batches to the devices: any size divides.
      partitioner=sharding.partitioner(len(self.devices), devices=self.devices),
    )


def build(config: Mapping[str, Any]) -> Experiment:
  """Builds the parts that a complete config names, and loads the data.

  Raises:
    UserError: parts do not fit together, or a value is out of range.
  """
  section = config["data"]
  with qualify("data", section):
    settings = with_local_tokenizers(own_settings(section, "data"))
    splits = data.load(section["name"], **settings)
    if section["limit"]:
      train = data.limit(splits.train, section["limit"])
      splits = splits._replace(train=train)
    if section["eval_limit"]:
      splits = _limit_evaluation(splits, section["eval_limit"])
  splits = follow_vocabulary(splits, config["init"]["source"])
  config = adapter_start.with_settings(config, splits.train.info, build_task)
  with qualify("init.strategy", config["init"]["strategy"]):
    phases = strategy(config)
  steps = phase_steps(phases, count_steps(config, splits.train.size))
  *earlier, last = (
    _phase(config, splits, *pair) for pair in zip(phases, steps, strict=True)
  )
  return dataclasses.replace(last, earlier=tuple(earlier))


def _phase(
  config: Mapping[str, Any],
  splits: data.Splits,
  phase: transfer.Adaptation,
  steps: int,
) -> Experiment:
  """Returns one phase of an experiment."""
  info = splits.train.info
  model, task = build_task(config, info, phase=phase)
  learning_rate = schedule(config, steps, phase.rate)
  rates = phase.rates(layers_of(task, info))
  return Experiment(
    config=config,
    splits=splits,
    model=model,
    task=task,
    steps=steps,
    learning_rate=learning_rate,
    tx=build_optimizer(config["optim"], learning_rate, rates),
    devices=_devices(config["sharding"]["devices"]),
  )


def _limit_evaluation(splits: data.Splits, size: int) -> data.Splits:
  """Returns the splits with at most `size` examples of valid and test."""
  limited = {}
  for name in ("valid", "test"):
    source = getattr(splits, name)
    if source is not None and source.size > size:
      limited[name] = data.limit(source, size)
  return splits._replace(**limited)


def build_optimizer(
  section: Mapping[str, Any],
  learning_rate: Schedule,
  rates: Rates = (),
) -> optax.GradientTransformation:
  """Returns the optimizer of the config's section `optim`.

  Args:
    section: the settings; the peak of the rate and the schedule are not used.
    learning_rate: `step -> rate`.
    rates: multipliers of the rate, after those of the section.
  """
  shared = inspect.signature(optim.create).parameters.keys() & section.keys()
  settings = {name: section[name] for name in shared}
  settings |= own_settings(section, "optim")
  settings["rates"] = (*section["rates"], *rates)
  with qualify("optim", section):
    return optim.create(**{**settings, "learning_rate": learning_rate})


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


def count_steps(config: Mapping[str, Any], size: int) -> int:
  """Returns the number of steps of a run over `size` training examples.

  Raises:
    UserError: it is 0 or too large, or a batch is larger than the training
      set.
  """
  section, batch_size = config["training"], config["data"]["batch_size"]
  if batch_size > size:
    raise UserError(
      f"expected data.batch_size of at most {size}, the whole training set",
      f"got {batch_size}",
    )
  steps = section["steps"] or math.ceil(section["epochs"] * size / batch_size)
  if not 0 < steps <= MAX_STEPS:
    raise UserError(
      "expected training.steps or training.epochs above 0, and at most "
      f"{MAX_STEPS:,} steps",
      f"got training.steps={section['steps']} and "
      f"training.epochs={section['epochs']}",
    )
  return steps


def schedule(
  config: Mapping[str, Any], steps: int, factor: float = 1.0
) -> Schedule:
  """Returns the learning rate of a run of `steps` steps.

  Args:
    config: the complete tree.
    steps: of the run, or of a phase of it.
    factor: of the peak.
  """
  section = config["optim"]["schedule"]
  with qualify("optim.schedule", section):
    return optim.schedule(
      section["name"],
      learning_rate=factor * config["optim"]["learning_rate"],
      steps=steps,
      **own_settings(section, "optim.schedule"),
    )


def plateau(section: Mapping[str, Any]) -> training.Plateau | None:
  """Returns how the trainer lowers the rate, or None for other schedules.

  Args:
    section: the config's section `optim.schedule`.
  """
  if section["name"] != "plateau":
    return None
  names = training.Plateau._fields
  return training.Plateau(**{name: section[name] for name in names})


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


def _devices(count: int) -> list[jax.Device]:
  """Returns the first `count` devices, all for 0."""
  devices = jax.devices()
  if not 0 <= count <= len(devices):
    raise UserError(
      f"expected sharding.devices from 1 to {len(devices)}, or 0 for all",
      f"got {count}",
    )
  return devices[:count] if count else devices

"""From a config to the parts that it names.

Lower layers do not see the config.
"""

import contextlib
import dataclasses
import inspect
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import optax

from dlcore import (
  augment,
  data,
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
  layers_of,
  paths_of,
  phase_steps,
  strategy,
  warn_of_random_weights,
)
from dlcore.experiment.base_width import width_scales
from dlcore.experiment.defaults import own_settings
from dlcore.experiment.feature_cache import FitParts, feature_parts
from dlcore.experiment.folder import RunFolder
from dlcore.experiment.initial_weights import load_initial
from dlcore.experiment.qualification import qualify
from dlcore.experiment.restoring import variables_of_run
from dlcore.experiment.source_settings import follow_normalization, follow_run
from dlcore.experiment.task_building import build_task
from dlcore.experiment.vocabulary import (
  augmented_ids,
  follow_vocabulary,
  with_local_tokenizers,
)
from dlcore.task import Task
from dlcore.typing import Initial, ModelState, Params, Schedule

MAX_STEPS = 2**31 - 1
"""The largest number of steps that an int32 counts."""


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
  phase: transfer.Adaptation
  scales: Mapping[str, optim.Scale]
  """Of initial values and learning rates by path, see `width_scales`."""

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
    before: "Trained | None" = None,
    **display: Any,
  ) -> training.Result:
    """Trains in a folder, or continues there.

    Args:
      workdir: of the log and the checkpoints.
      assets: the run folder, by default `workdir`.
      before: the phase from whose weights this one begins, by default those
        of the config. It is called only if this one has not begun.
      **display: arguments of `training.fit`.
    """
    (assets or workdir).mkdir(parents=True, exist_ok=True)
    if before is None:
      warn_of_random_weights(self.config)
      initial = load_initial(
        self.config["init"],
        self.model,
        self.task,
        assets or workdir,
        variables_of_run,
      )
    else:
      initial = self._initial(before)
    run = FitParts(self.task, self.splits.train, self._valid(), initial)
    if self.phase.caches and not self._augments():
      run = feature_parts(run, self.config["seed"], self.evaluator) or run
    arguments = {
      **self.settings_of(training.fit),
      "steps": self.steps,
      "workers": self.config["data"]["workers"],
      "plateau": plateau(self.config["optim"]["schedule"]),
      "initial": run.initial,
      # Those of `init.source` are loaded again.
      "save_frozen": initial is None or before is not None,
      "workdir": workdir,
    }
    if isinstance(arguments["order"], data.Bucketed):
      logging.getLogger("dlcore").info(arguments["order"].describe())
    with self.qualified():
      return training.fit(
        run.task,
        self.tx,
        run.train,
        run.valid,
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
    order = lookup(
      data.SAMPLINGS,
      self.phase.sampling or loading["sampling"],
      "data.sampling",
    )
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

  def evaluator(
    self, source: data.Source, task: Task | None = None
  ) -> training.Evaluator:
    """Returns an evaluator of the task, or of another one, on `source`."""
    return training.Evaluator(
      task or self.task,
      source,
      seed=self.config["seed"],
      batch_size=self.config["training"]["eval_batch_size"],
      placement=self.config["data"]["placement"],
      # Evaluation rounds its batches to the devices: any size divides.
      partitioner=sharding.partitioner(len(self.devices), devices=self.devices),
    )

  def _initial(self, before: "Trained") -> Initial:
    """Returns the function that replaces random values by those of a phase."""

    def initial(params: Params, state: ModelState) -> tuple[Params, ModelState]:
      return transfer.initial(before(), self.task)(params, state)

    return initial

  def _valid(self) -> data.Source | None:
    """Returns the validation split, if predictions are learned."""
    return self.splits.valid if self.phase.predicts else None

  def _augments(self) -> bool:
    """Returns whether training batches are augmented."""
    ids = augmented_ids(self.splits.train.info)
    return augment.compose(self.config["data"]["augment"], ids) is not None


Trained = Callable[[], Mapping[str, Any]]
"""Returns the variables of the model after the training of a phase."""


def build(
  config: Mapping[str, Any], folder: RunFolder | None = None
) -> Experiment:
  """Builds the parts that a complete config names, and loads the data.

  Args:
    config: the complete tree.
    folder: of the run. If that has begun, `init.source` is not read again.

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
  if source := config["init"]["source"]:
    if folder is not None and folder.has_begun():
      splits = follow_run(splits, folder.info())
    else:
      splits = follow_vocabulary(splits, source)
      splits = follow_normalization(splits, source)
  config = adapter_start.with_settings(config, splits.train.info, build_task)
  phases = strategy(config)
  adapter_start.check_strategy(config["init"], phases)
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
  scales = width_scales(config, info)
  task = tasks.scaled(task, scales)
  learning_rate = schedule(config, steps, phase.rate)
  return Experiment(
    config=config,
    splits=splits,
    model=model,
    task=task,
    steps=steps,
    learning_rate=learning_rate,
    tx=phase_optimizer(config, learning_rate, phase, task, info, scales),
    phase=phase,
    scales=scales,
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


def phase_optimizer(
  config: Mapping[str, Any],
  learning_rate: Schedule,
  phase: transfer.Adaptation,
  task: Task,
  info: data.DataInfo,
  scales: Mapping[str, optim.Scale] = MappingProxyType({}),
) -> optax.GradientTransformation:
  """Returns the optimizer of a phase, with the rates of its strategy.

  Patterns of `optim.rates` and `optim.layers` may match parameters that are
  frozen in this phase.

  Args:
    config: the complete tree; the peak of the rate and the schedule are not
      used.
    learning_rate: `step -> rate`.
    phase: of the strategy.
    task: of the phase.
    info: of train.
    scales: of learning rates by path.
  """
  section = config["optim"]
  has_rules = section["rates"] or section["layers"]
  return build_optimizer(
    section,
    learning_rate,
    phase.rates(layers_of(task, info)),
    paths_of(task, info) if has_rules else (),
    optim.rate_rules(scales),
  )


def build_optimizer(
  section: Mapping[str, Any],
  learning_rate: Schedule,
  rates: Rates = (),
  model_paths: Sequence[str] = (),
  path_rates: Mapping[str, float] = MappingProxyType({}),
) -> optax.GradientTransformation:
  """Returns the optimizer of the config's section `optim`.

  Args:
    section: the settings; the peak of the rate and the schedule are not used.
    learning_rate: `step -> rate`.
    rates: multipliers of the rate, after those of the section.
    model_paths: see `optim.create`.
    path_rates: see `optim.create`.
  """
  shared = inspect.signature(optim.create).parameters.keys() & section.keys()
  settings = {name: section[name] for name in shared}
  settings |= own_settings(section, "optim")
  settings["rates"] = (*section["rates"], *rates)
  with qualify("optim", section):
    return optim.create(
      **{
        **settings,
        "learning_rate": learning_rate,
        "model_paths": model_paths,
        "path_rates": path_rates,
      }
    )


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


def _devices(count: int) -> list[jax.Device]:
  """Returns the first `count` devices, all for 0."""
  devices = jax.devices()
  if not 0 <= count <= len(devices):
    raise UserError(
      f"expected sharding.devices from 1 to {len(devices)}, or 0 for all",
      f"got {count}",
    )
  return devices[:count] if count else devices

"""From a config to the parts that it names: here the config stops."""

import dataclasses
import inspect
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlcore import (
  augment,
  data,
  models,
  optim,
  tasks,
  training,
  transfer,
  trees,
)
from dlcore.errors import UserError, lookup
from dlcore.experiment.defaults import DEFAULTS, TABLES
from dlcore.scale import AXIS, data_parallel
from dlcore.task import Task
from dlcore.typing import Extra, Params, Schedule

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}

log = logging.getLogger("dlcore")


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

  def fit(self, workdir, *, progress: bool, phases: training.Phases):
    """Trains in `workdir`, or goes on; returns the last `State`."""
    section, where = self.config["training"], self.config["data"]
    return training.fit(
      self.task,
      self.tx,
      self.splits.train,
      self.splits.valid,
      steps=self.steps,
      seed=self.config["seed"],
      workdir=workdir,
      batch_size=where["batch_size"],
      augment=augment.compose(where["augment"]),
      penalty=optim.penalty(
        self.config["optim"]["l1"],
        self.config["optim"]["l2"],
        self.config["optim"]["no_decay"],
      ),
      initial=initial(self.config["init"], self.model),
      freeze=self.config["optim"]["freeze"],
      ema=section["ema"],
      accumulate=section["accumulate"],
      patience=section["patience"],
      spike=section["spike"],
      tolerate=section["tolerate"],
      recoveries=section["recoveries"],
      learning_rate=self.learning_rate,
      plateau=plateau(self.config),
      best_by=section["best_by"],
      log_every=section["log_every"],
      watch_every=section["watch_every"],
      eval_every=section["eval_every"],
      checkpoint_every=section["checkpoint_every"],
      eval_batch_size=section["eval_batch_size"],
      placement=where["placement"],
      workers=where["workers"],
      steps_per_call=section["steps_per_call"],
      compiler=section["compile"],
      devices=self.devices,
      progress=progress,
      phases=phases,
    )

  def evaluator(self, source: data.Source) -> training.Evaluator:
    """Returns what evaluates the task on `source`."""
    # Evaluation rounds its batches to the devices, so any size will do here.
    return training.Evaluator(
      self.task,
      source,
      seed=self.config["seed"],
      batch_size=self.config["training"]["eval_batch_size"],
      placement=self.config["data"]["placement"],
      parallel=data_parallel(len(self.devices), devices=self.devices),
    )


def build(config: Mapping[str, Any]) -> Experiment:
  """Builds what a complete config names; loads the data.

  Raises:
    UserError: parts do not fit together, or a value is out of range.
  """
  section = config["data"]
  splits = data.load(section["name"], **_own(section, "data"))
  if section["limit"]:
    splits = splits._replace(train=data.limit(splits.train, section["limit"]))
  model, task = build_task(config, splits.train.about)
  steps = count_steps(config, splits.train.size)
  learning_rate = schedule(config, steps)
  optimizer = config["optim"]
  tx = optim.create(
    optimizer["name"],
    learning_rate=learning_rate,
    clip_norm=optimizer["clip_norm"],
    clip_value=optimizer["clip_value"],
    clip_layer=optimizer["clip_layer"],
    clip_adaptive=optimizer["clip_adaptive"],
    no_decay=optimizer["no_decay"],
    rates=optimizer["rates"],
    layers=optimizer["layers"],
    layer_decay=optimizer["layer_decay"],
    **_own(optimizer, "optim"),
  )
  return Experiment(
    config=config,
    splits=splits,
    model=model,
    task=task,
    steps=steps,
    learning_rate=learning_rate,
    tx=tx,
    devices=_devices(config["scale"]["devices"]),
  )


def build_task(
  config: Mapping[str, Any], about: Mapping[str, Any]
) -> tuple[Any, Task]:
  """Builds the model and its task for data that `about` describes.

  Raises:
    UserError: the task or the model is not for such data.
  """
  section, name = config["task"], config["task"]["name"]
  classes = about.get("classes")
  if (name == "classification") != bool(classes):
    fitting = "classification" if classes else "regression"
    have = f"{len(classes)} classes" if classes else "a number as its target"
    raise UserError(
      f"expected data for the task {name!r}",
      f"got {about['name']!r}, which has {have}",
      f"use --config.task.name={fitting}",
    )
  if classes and len(classes) < 2:
    raise UserError(
      "expected data of at least two classes",
      f"got {about['name']!r}, where all examples are {classes[0]!r}",
    )
  model = models.create(
    config["model"]["name"],
    num_classes=len(classes) if classes else 1,
    **_numerics(config),
    **_own(config["model"], "model"),
  )
  settings: dict[str, Any] = {
    "input": about["input"],
    "normalization": about.get("normalization"),
  }
  if name == "regression":
    settings["target_normalization"] = about.get("target_normalization")
  make: Callable[..., Task] = tasks.TASKS[name]
  return model, make(model, **settings, **_own(section, "task"))


def parameters(
  task: Task, about: Mapping[str, Any], restored: tuple[Any, Any], where: Any
) -> tuple[Params, Extra]:
  """Returns restored arrays in the structure that the task works with.

  Args:
    task: built from the config.
    about: of the data.
    restored: `(params, extra)`, nested dicts of arrays; empty ones are lost.
    where: they came from, for the message.

  Raises:
    UserError: they are of another model, or of other data.
  """
  example = np.zeros((1, *about["shape"]), about["dtype"])
  batch = {about["input"]: example}
  template = jax.eval_shape(task.init, jax.random.key(0), batch)
  try:
    return trees.restore(template, trees.flatten(restored))
  except ValueError as error:
    raise UserError(
      f"expected the parameters in {where} to fit config.json and data.json",
      f"got: {error}",
      "put good copies of these files back, or train in another --workdir",
    ) from error


def count_steps(config: Mapping[str, Any], size: int) -> int:
  """Returns the number of steps of a run over `size` training examples.

  Raises:
    UserError: there are none, or a batch is larger than the whole.
  """
  section, batch_size = config["training"], config["data"]["batch_size"]
  if batch_size > size:
    raise UserError(
      f"expected data.batch_size of at most {size}, the whole training set",
      f"got {batch_size}",
    )
  steps = section["steps"] or math.ceil(section["epochs"] * size / batch_size)
  if not steps:
    raise UserError(
      "expected training.steps or training.epochs above 0",
      f"got steps={section['steps']} and epochs={section['epochs']}",
    )
  return steps


def schedule(config: Mapping[str, Any], steps: int) -> Schedule:
  """Returns the learning rate of a run of `steps` steps."""
  section = config["optim"]
  return optim.schedule(
    section["schedule"]["name"],
    learning_rate=section["learning_rate"],
    steps=steps,
    **_own(section["schedule"], "optim.schedule"),
  )


def initial(
  section: Mapping[str, Any], model: Any
) -> Callable[[Params, Extra], tuple[Params, Extra]] | None:
  """Returns what puts weights in the place of random ones, None for nothing."""
  if not section["source"]:
    return None

  def load(params: Params, extra: Extra) -> tuple[Params, Extra]:
    variables, report = transfer.load_pretrained(
      section["source"],
      model,
      {"params": params, **tasks.supervised.collections(extra)},
      **{key: section[key] for key in section if key != "source"},
    )
    for line in str(report).splitlines():
      log.info("%s", line)
    return variables.pop("params"), {**extra, **variables}

  return load


def plateau(config: Mapping[str, Any]) -> training.Plateau | None:
  """Returns when the trainer lowers the rate, None if it does not."""
  section = config["optim"]["schedule"]
  if section["name"] != "plateau":
    return None
  names = training.Plateau._fields
  return training.Plateau(**{name: section[name] for name in names})


def _own(section: Mapping[str, Any], path: str) -> dict[str, Any]:
  """Returns the settings of the section's entry, without the common ones."""
  common: Any = DEFAULTS
  for part in path.split("."):
    common = common[part]
  return {key: value for key, value in section.items() if key not in common}


def _numerics(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns what a model must know of its numbers and of the devices."""
  section = config["training"]
  values = {"dtype": lookup(DTYPES, section["dtype"], "training.dtype")}
  if section["compile"] == "pmap":
    values["axis_name"] = AXIS
  entry = TABLES["model"][0][config["model"]["name"]]
  takes = inspect.signature(entry).parameters
  return {key: value for key, value in values.items() if key in takes}


def _devices(count: int) -> list[jax.Device]:
  devices = jax.local_devices()
  if not 0 <= count <= len(devices):
    raise UserError(
      f"expected scale.devices from 1 to {len(devices)}, or 0 for all",
      f"got {count}",
    )
  return devices[:count] if count else devices

"""A search from its first trial to its result."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dlcore import experiment, training
from dlcore.errors import UserError, lookup
from dlcore.search.algorithms import ALGORITHMS, PRUNERS, Budget, Request
from dlcore.search.journal import open_storage
from dlcore.search.shared_study import OWN, Point, SharedStudy
from dlcore.search.space import (
  Space,
  When,
  check,
  inner,
  label,
)
from dlcore.search.suggested_space import describe
from dlcore.search.trial_training import Outcome, TrialTrainer

JOURNAL = "journal.log"

WAIT_SECONDS = 0.5
"""Between questions whether the trials of other processes have ended."""


class Settings(NamedTuple):
  """How to search."""

  algorithm: str = "bayes"
  trials: int = 64
  pruner: str = "none"
  seeds: int = 1
  """Runs of each trial."""

  metric: str = ""
  """Such as `"valid/accuracy"` or `"-valid/loss"`; empty for the one that
  decides which step of a run is the best."""

  budget_minutes: float = 0.0
  """Time after which no trial begins; 0 without a limit."""

  storage: str = ""
  """Path of a journal or URL of a database; empty for a journal in the folder
  of the search."""

  at_once: int = 0
  """Trials that are asked for at a time; 0 for a number by algorithm."""


def search(
  config: Mapping[str, Any],
  space: Space,
  workdir: str | Path,
  settings: Settings,
  show: Callable[[SharedStudy], None] = lambda study: None,
) -> SharedStudy:
  """Runs the trials of a search, or continues it.

  Several processes with the same storage share the trials.

  Args:
    config: the complete tree; its own values are the first trial.
    space: the distributions, by path.
    workdir: folder of the search.
    settings: how to search.
    show: called after each result.

  Returns:
    The study, with all of its trials; to be closed.

  Raises:
    UserError: the space does not fit the config, a setting is wrong, or the
      run of the config itself fails.
    Stopped: SIGTERM or SIGINT was received.
  """
  workdir = Path(workdir)
  check_settings(settings)
  check(space)
  check_configs(config, space)
  metric = full_metric(config, settings.metric)
  config = experiment.with_leaves(
    config, {"training.best_by": metric.replace("valid/", "")}
  )
  built = experiment.build(config)
  study = _open(config, space, workdir, settings, metric, built)
  first_seed = config["seed"]
  trainer = TrialTrainer(
    config,
    metric=metric.replace("valid/", ""),
    seeds=range(first_seed, first_seed + settings.seeds),
    workdir=workdir / "trials",
  )
  algorithm = ALGORITHMS[settings.algorithm]
  deadline = math.inf
  if settings.budget_minutes:
    deadline = time.monotonic() + 60 * settings.budget_minutes
  try:
    while time.monotonic() < deadline:
      points = study.ask(settings.at_once or algorithm.at_once)
      if points:
        _train(study, trainer, points, show)
      elif study.waits():
        time.sleep(WAIT_SECONDS)
      else:
        break
  except BaseException:
    study.close()
    raise
  study.stop()
  return study


def _train(
  study: SharedStudy,
  trainer: TrialTrainer,
  points: Sequence[Point],
  show: Callable[[SharedStudy], None],
) -> None:
  """Trains the trials that were asked for, and tells their results.

  Raises:
    UserError: the values of the config itself fail.
  """
  by_number = {point.number: point for point in points}
  mistakes: list[str] = []

  def report(step: int, values: Mapping[int, float]) -> set[int]:
    for number, value in values.items():
      if math.isfinite(value):
        study.report(by_number[number], step, value)
    # All are known before the first is compared with the others.
    return {n for n in values if by_number[n].trial.should_prune()}

  def tell(number: int, outcome: Outcome) -> None:
    point = by_number[number]
    seeds = list(outcome.seeds)
    if outcome.reason:
      study.tell_failed(point, outcome.reason)
      if outcome.is_mistake and OWN in point.trial.user_attrs:
        mistakes.append(outcome.reason)
    elif outcome.pruned:
      study.tell_pruned(point, outcome.value, seeds=seeds)
    else:
      study.tell(point, outcome.value, seeds=seeds)
    show(study)

  trainer.train({p.number: p.values for p in points}, report, tell)
  if mistakes:
    raise UserError(
      "expected a config that can be trained", f"got: {mistakes[0]}"
    )


def _open(
  config: Mapping[str, Any],
  space: Space,
  workdir: Path,
  settings: Settings,
  metric: str,
  built: experiment.Experiment,
) -> SharedStudy:
  """Opens the storage of the search and creates or joins its study."""
  leaves = experiment.leaves(config)
  algorithm = ALGORITHMS[settings.algorithm]
  request = Request(space, leaves, settings.trials, config["seed"])
  points = algorithm.points(request)
  if points and settings.trials > len(points) + 1:
    raise UserError(
      f"expected --trials of at most {len(points) + 1:,}, the points of the "
      "grid and the config",
      f"got {settings.trials:,}",
      "choose another --algorithm, or --trials=0 for all points",
    )
  trials = settings.trials or (len(points) + 1 if points else 0)
  budget = Budget(built.steps, eval_every(built))
  varied = set(space)
  return SharedStudy(
    open_storage(settings.storage or str(workdir / JOURNAL)),
    space,
    leaves,
    sampler=algorithm.sampler(request),
    pruner=PRUNERS[settings.pruner](budget),
    maximize=not metric.startswith("-"),
    settings={
      "metric": metric,
      "seeds": settings.seeds,
      "space": {path: describe(one) for path, one in space.items()},
      "config": {
        path: label(value)
        for path, value in leaves.items()
        if path not in varied
      },
    },
    points=points,
    trials=trials,
  )


def check_settings(settings: Settings) -> None:
  """Checks the settings that do not depend on the config.

  Raises:
    UserError: one is unknown or out of range.
  """
  lookup(ALGORITHMS, settings.algorithm, "algorithm")
  lookup(PRUNERS, settings.pruner, "pruner")
  for name, least in (("trials", 0), ("seeds", 1), ("budget_minutes", 0)):
    value = getattr(settings, name)
    if not least <= value < math.inf:
      raise UserError(f"expected --{name} of at least {least}", f"got {value}")
  endless = settings.algorithm != "grid" and not settings.trials
  if endless and not settings.budget_minutes:
    raise UserError(
      "expected --trials or --budget_minutes above 0", "got neither"
    )


def full_metric(config: Mapping[str, Any], metric: str) -> str:
  """Returns a metric as `valid/NAME` or `-valid/NAME`.

  Raises:
    UserError: it is one of another split.
  """
  metric = metric or config["training"]["best_by"]
  sign = "-" if metric.startswith("-") else ""
  name = metric.removeprefix("-")
  split, slash, rest = name.partition("/")
  if slash and split in ("train", "test"):
    raise UserError(
      "expected --metric of the validation split, which a search may see",
      f"got {metric!r}",
      f"--metric={sign}valid/{rest}",
    )
  return f"{sign}valid/{name.removeprefix('valid/')}"


def check_configs(config: Mapping[str, Any], space: Space) -> None:
  """Checks that the config can have the values of a space.

  Raises:
    UserError: a path is unknown, or a value of another type or out of range.
  """
  for path, one in space.items():
    condition = _conditions(space, path)
    for value in inner(one).grid(2):
      experiment.with_leaves(config, {**condition, path: value})


def _conditions(space: Space, path: str) -> dict[str, Any]:
  """Returns values of other paths with which a trial has a parameter."""
  values: dict[str, Any] = {}
  one = space[path]
  while isinstance(one, When):
    values[one.path] = one.values[0]
    one = space.get(one.path)
  return values


def eval_every(built: experiment.Experiment) -> int:
  """Returns the steps between the evaluations of a run."""
  section = built.config["training"]
  return training.Intervals.create(
    built.steps,
    steps_per_epoch=built.splits.train.size
    // built.config["data"]["batch_size"],
    eval_every=section["eval_every"],
    checkpoint_every=0,
    keep_every=0,
    steps_per_call=1,
    counts_evaluations=section["patience"] > 0
    or built.config["optim"]["schedule"]["name"] == "plateau",
  ).eval_every

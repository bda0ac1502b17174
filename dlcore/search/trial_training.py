"""Training of the trials of a search: together, or one after the other."""

import json
import logging
import math
import shutil
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dlcore import experiment
from dlcore.exceptions import as_user_error
from dlcore.search.space import label
from dlcore.training import Member, Population, Stopped
from dlcore.training.population import HALTED, MemberResult

KEPT_KINDS = 4
"""Compiled populations that are kept."""

MOST_MEMBERS = 64
"""Of one program."""

logger = logging.getLogger("dlcore")

Values = Mapping[str, Any]
"""Leaves of the config by path."""

Tell = Callable[[int, "Outcome"], None]

Report = Callable[[int, Mapping[int, float]], set[int]]
"""`(step, {trial: value}) -> trials that end here`."""


class Outcome(NamedTuple):
  """The result of a trial."""

  value: float = math.nan
  """The mean over the seeds of the best values."""

  pruned: bool = False
  reason: str = ""
  """Why it failed; empty otherwise."""

  is_mistake: bool = False
  """Whether it failed by an error that the user can fix."""

  seeds: tuple[float, ...] = ()
  """The best value of each seed."""


class Kind(NamedTuple):
  """The common parts of trials whose arrays have the same shapes."""

  varying: tuple[str, ...]
  """Paths of the numbers in which its members differ."""

  population: Population | None
  """None if each trial is a run of its own."""

  together: int
  """Members of one program."""


class TrialTrainer:
  """Trains trials, each a config with other values of some leaves.

  Trials that differ in numbers alone are members of one program.
  """

  def __init__(
    self,
    config: Mapping[str, Any],
    *,
    metric: str,
    seeds: Sequence[int],
    workdir: Path,
  ):
    """Takes the settings of all trials.

    Args:
      config: the complete tree, with `training.best_by` as the metric.
      metric: of the validation, with a leading minus to minimize it.
      seeds: with which each trial is trained.
      workdir: folder of the runs that are no members of a program.
    """
    self._config, self._seeds, self._workdir = config, tuple(seeds), workdir
    self._metric = metric.removeprefix("-")
    self._sign = -1 if metric.startswith("-") else 1
    self._varying: dict[str, tuple[str, ...]] = {}
    self._kinds: dict[str, Kind] = {}

  def train(
    self, trials: Mapping[int, Values], report: Report, tell: Tell
  ) -> None:
    """Trains trials, those of the same shapes together.

    Args:
      trials: their values, by number.
      report: called with the means of the metric over the seeds after each
        evaluation.
      tell: called with each outcome.
    """
    groups: dict[str, dict[int, Values]] = {}
    for number, values in trials.items():
      try:
        key = self._key(values)
      except Exception as error:
        tell(number, failure(error))
      else:
        groups.setdefault(key, {})[number] = values
    for key, group in groups.items():
      self._train_group(key, group, report, tell)

  def _train_group(
    self, key: str, trials: Mapping[int, Values], report: Report, tell: Tell
  ) -> None:
    """Trains trials of the same shapes.

    Where they fail together, perhaps for lack of memory, each half of them is
    tried again.
    """
    items = list(trials.items())
    try:
      kind = self._kind(key, items[0][1])
    except Exception as error:
      for number in trials:
        tell(number, failure(error))
      return
    at_once = max(kind.together // len(self._seeds), 1)
    for first in range(0, len(items), at_once):
      part = dict(items[first : first + at_once])
      for number, outcome in self._outcomes_or_failures(kind, part, report):
        tell(number, outcome)

  def _outcomes_or_failures(
    self, kind: Kind, trials: Mapping[int, Values], report: Report
  ) -> Iterator[tuple[int, Outcome]]:
    """Yields the outcomes of trials of one program."""
    try:
      outcomes = self._outcomes(kind, trials, report)
    except Stopped:
      raise
    except Exception as error:
      outcomes = {}
      failed = failure(error)
    if outcomes:
      yield from outcomes.items()
    elif len(trials) == 1:
      yield from ((number, failed) for number in trials)
    else:
      logger.warning(
        "%d trials failed together and are tried again in two parts: %s",
        len(trials),
        failed.reason,
      )
      items = list(trials.items())
      half = len(items) // 2
      for part in (items[:half], items[half:]):
        yield from self._outcomes_or_failures(kind, dict(part), report)

  def _outcomes(
    self, kind: Kind, trials: Mapping[int, Values], report: Report
  ) -> dict[int, Outcome]:
    """Trains trials in one program, or one after the other."""
    if kind.population is None:
      return {n: self._train_alone(n, v, report) for n, v in trials.items()}
    owners = [number for number in trials for _ in self._seeds]
    members = [
      Member(self._hparams(kind, values), seed)
      for values in trials.values()
      for seed in self._seeds
    ]
    pruned: set[int] = set()

    def on_evaluation(step: int, values: Mapping[int, Any]) -> set[int]:
      by_trial: dict[int, list[float]] = {}
      for i, one in values.items():
        by_trial.setdefault(owners[i], []).append(one[self._metric])
      # Seeds that are trained one after the other follow the first.
      means = {
        number: statistics.mean(known)
        for number, known in by_trial.items()
        if owners.index(number) in values
      }
      if means:
        pruned.update(report(step, means))
      return {i for i in values if owners[i] in pruned}

    if kind.together > 1:
      results = dict(enumerate(kind.population.fit(members, on_evaluation)))
    else:
      results = {}
      for i, member in enumerate(members):
        if owners[i] not in pruned:
          [results[i]] = kind.population.fit(
            [member],
            lambda step, values, i=i: {
              0 for _ in on_evaluation(step, {i: values[0]})
            },
          )
    outcomes = {}
    for number in trials:
      own = [one for i, one in results.items() if owners[i] == number]
      outcomes[number] = self._outcome(own, number in pruned)
    return outcomes

  def _outcome(self, results: Sequence[MemberResult], pruned: bool) -> Outcome:
    """Returns the outcome of a trial from those of its seeds."""
    halted = [one for one in results if one.outcome == HALTED]
    if halted:
      return Outcome(
        reason=f"losses were not finite from step {halted[0].step} on, or "
        "earlier"
      )
    return _outcome([one.values[self._metric] for one in results], pruned)

  def _train_alone(
    self, number: int, values: Values, report: Report
  ) -> Outcome:
    """Trains a trial whose runs are no members of a program.

    They have run folders, in which they continue.
    """
    bests: list[float] = []
    pruned = False
    for seed in self._seeds:
      folder = self._workdir / f"{number:04d}_seed_{seed}"
      best = -math.inf

      def on_evaluation(step: int, metrics: Mapping[str, float]) -> bool:
        nonlocal best, pruned
        value = metrics.get(self._metric, math.nan)
        best = max(best, self._sign * value)
        # The other seeds follow the first.
        pruned = not bests and number in report(step, {number: value})
        return pruned

      config = {**self._trial_config(values), "seed": seed}
      experiment.train_validated(config, folder, on_evaluation=on_evaluation)
      shutil.rmtree(folder / "checkpoints", ignore_errors=True)
      bests.append(self._sign * best)
      if pruned:
        break
    return _outcome(bests, pruned)

  def _trial_config(self, values: Values) -> dict[str, Any]:
    return experiment.with_leaves(self._config, values)

  def _key(self, values: Values) -> str:
    """Returns a text that trials of the same shapes have in common."""
    static = {p: v for p, v in values.items() if not isinstance(v, float)}
    structure = json.dumps(
      [sorted(values), {p: label(v) for p, v in static.items()}], sort_keys=True
    )
    if structure not in self._varying:
      built = experiment.build(self._trial_config(values))
      self._varying[structure] = tuple(
        experiment.varying_paths(built, values)
        if not experiment.why_not_together(built)
        else ()
      )
    varying = self._varying[structure]
    fixed = {p: label(v) for p, v in values.items() if p not in varying}
    return json.dumps([sorted(varying), fixed], sort_keys=True)

  def _kind(self, key: str, values: Values) -> Kind:
    """Returns the common parts of the trials with a key, compiled once."""
    if key in self._kinds:
      self._kinds[key] = kind = self._kinds.pop(key)  # The latest.
      return kind
    while len(self._kinds) >= KEPT_KINDS:
      del self._kinds[next(iter(self._kinds))]
    built = experiment.build(self._trial_config(values))
    population, together = None, 1
    if reason := experiment.why_not_together(built):
      logger.info("trials are trained one after the other: %s", reason)
    else:
      population = experiment.build_population(built, self._workdir)
      if not experiment.runs_alone(built):
        together = min(MOST_MEMBERS, experiment.most_members(built))
    kind = Kind(tuple(json.loads(key)[0]), population, together)
    self._kinds[key] = kind
    return kind

  def _hparams(self, kind: Kind, values: Values) -> dict[str, float]:
    """Returns the numbers of a member."""
    return {path: float(values[path]) for path in kind.varying}


def _outcome(values: Sequence[float], pruned: bool) -> Outcome:
  """Returns the outcome of a trial with the best value of each seed."""
  if not values or not all(map(math.isfinite, values)):
    return Outcome(reason="the metric is not finite", seeds=tuple(values))
  return Outcome(statistics.mean(values), pruned, seeds=tuple(values))


def failure(error: Exception) -> Outcome:
  """Returns the outcome of a trial that an error ended."""
  mistake = as_user_error(error, takes_config=True)
  if mistake is not None:
    return Outcome(reason="; ".join(mistake.lines), is_mistake=True)
  first, *_ = str(error).strip().splitlines() or [""]
  return Outcome(reason=f"{type(error).__name__}: {first:.200}")

"""The trials of a search, which several processes may work on."""

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from dlcore.errors import UserError
from dlcore.search.bayesian import DROPPED
from dlcore.search.journal import close_storage
from dlcore.search.processes import is_dead, this_worker
from dlcore.search.space import Space, inner, is_active, label

LEASE, CONTINUES, REASON, OWN, POINT = (
  *("lease", "continues", "reason", "own", "point"),
)
"""Attributes of a trial: the worker and the time of its last sign of life, the
number of the first trial that it continues, why it failed, for the values of
the config, whether they are in the space, and the position among the points
that are tried first, which two processes may both enqueue."""

INSIDE, OUTSIDE = "inside", "outside"

ENDED = "its process has ended"
"""Why a trial that another one continues does not count."""

RENEW_SECONDS = 15.0
"""Time between signs of life."""

UNCLAIMED_SECONDS = 10.0
"""Time within which a worker claims a trial that it has asked for."""


class Point(NamedTuple):
  """A trial that this process has to run."""

  number: int
  """Of the first trial with these values; later ones continue it."""

  values: dict[str, Any]
  """By path."""

  trial: optuna.Trial


class SharedStudy:
  """Asks for trials and tells their results, each exactly once.

  Trials of processes that have ended are continued by others: a new trial with
  the same values, whose number is that of the first. Two processes may both
  begin to continue one; the later one then drops its own.
  """

  def __init__(
    self,
    storage: BaseStorage,
    space: Space,
    leaves: Mapping[str, Any],
    *,
    sampler: optuna.samplers.BaseSampler,
    pruner: optuna.pruners.BasePruner,
    maximize: bool,
    settings: Mapping[str, Any],
    points: Sequence[Mapping[str, Any]] = (),
    trials: int = 0,
    name: str = "search",
  ):
    """Creates the study in the storage, or joins it.

    Args:
      storage: see `open_storage`.
      space: the distributions.
      leaves: of the config by path.
      sampler: proposes values.
      pruner: ends trials.
      maximize: whether more is better.
      settings: JSON values that all processes must share, such as the metric.
      points: values that are tried first, after those of the config.
      trials: number of trials; 0 without a limit.
      name: of the study in the storage.

    Raises:
      UserError: the study has other settings.
    """
    self._space, self._leaves, self._trials = space, leaves, trials
    self.maximizes = maximize
    self._worker = this_worker().to_json()
    direction = "maximize" if maximize else "minimize"
    self.study = optuna.create_study(
      storage=storage,
      sampler=sampler,
      pruner=pruner,
      study_name=name,
      direction=direction,
      load_if_exists=True,
    )
    self._check_settings({**settings, "direction": direction})
    self._enqueue_first(points)
    self._held: dict[int, optuna.Trial] = {}
    self._held_lock = threading.Lock()
    self._closed = threading.Event()
    self._renewals = threading.Thread(target=self._renew, daemon=True)
    self._renewals.start()

  def stop(self) -> None:
    """Ends the signs of life, after the last trial."""
    self._closed.set()
    self._renewals.join()

  def close(self) -> None:
    """Stops, and closes the connections to a database."""
    self.stop()
    close_storage(self.study._storage)

  def ask(self, count: int) -> list[Point]:
    """Returns at most `count` trials to run; fewer at the end of the search."""
    self._continue_dead()
    points = []
    while len(points) < count and (point := self._ask_one()) is not None:
      points.append(point)
    return points

  def report(self, point: Point, step: int, value: float) -> None:
    """Records the value of a trial at an evaluation."""
    with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
      point.trial.report(value, step)

  def tell(self, point: Point, value: float, **attributes: Any) -> None:
    """Records the value of a trial that made all of its steps."""
    self._finish(point, TrialState.COMPLETE, value, attributes)

  def tell_pruned(self, point: Point, value: float, **attributes: Any) -> None:
    """Records that a trial was ended because others are better."""
    attributes["value"] = value
    self._finish(point, TrialState.PRUNED, None, attributes)

  def tell_failed(self, point: Point, reason: str) -> None:
    """Records that a trial failed."""
    self._finish(point, TrialState.FAIL, None, {REASON: reason})

  def counted(self) -> list[FrozenTrial]:
    """Returns the trials that count, without those that others continue."""
    counted: dict[Any, FrozenTrial] = {}
    for one in self._all():
      if not _is_dropped(one):
        counted.setdefault(_identity(one), one)
    return list(counted.values())

  def waits(self) -> bool:
    """Returns whether trials are running, which may have to be continued."""
    return any(one.state is TrialState.RUNNING for one in self.counted())

  def _all(self) -> list[FrozenTrial]:
    return self.study.get_trials(deepcopy=False)

  def _ask_one(self) -> Point | None:
    """Returns a trial, None if there are enough."""
    while True:
      trials = self.counted()
      waiting = any(one.state is TrialState.WAITING for one in trials)
      if self._trials and len(trials) >= self._trials and not waiting:
        return None
      trial = self.study.ask()
      counted = {one.number: one for one in self.counted()}
      frozen = counted.get(trial.number)
      if frozen is None or self._is_surplus(frozen, counted):
        self._drop(trial.number, "another process has it")
        continue
      self._hold(trial)
      outside = trial.user_attrs.get(OWN) == OUTSIDE
      values = {} if outside else self._suggest(trial)
      return Point(first_number(frozen), values, trial)

  def _suggest(self, trial: optuna.Trial) -> dict[str, Any]:
    """Returns the values of a trial, of the parameters that it has."""
    values: dict[str, Any] = {}
    remaining = dict(self._space)
    while remaining:
      # A condition may be on a parameter that comes later.
      path = next(
        path for path, one in remaining.items()
        if getattr(one, "path", None) not in remaining
      )  # fmt: skip
      remaining.pop(path)
      if is_active(self._space, path, {**self._leaves, **values}):
        one = inner(self._space[path])
        stored = trial._suggest(path, one.distribution())
        values[path] = one.load(stored)
    return values

  def _enqueue_first(self, points: Sequence[Mapping[str, Any]]) -> None:
    """Adds the values of the config and further points, once."""
    if self.study.user_attrs.get("points") is not None:
      return
    own = {
      path: self._leaves[path]
      for path, one in self._space.items()
      if is_active(self._space, path, self._leaves)
    }
    contained = all(
      path in self._leaves and inner(self._space[path]).contains(value)
      for path, value in own.items()
    )
    self.study.enqueue_trial(
      self._stored(own) if contained else {},
      user_attrs={OWN: INSIDE if contained else OUTSIDE, POINT: 0},
    )
    for index, point in enumerate(points, 1):
      if not contained or _labels(point) != _labels(own):
        self.study.enqueue_trial(self._stored(point), user_attrs={POINT: index})
    # Last: a process may be killed, and points that are there twice count once.
    self.study.set_user_attr("points", len(points))

  def _stored(self, values: Mapping[str, Any]) -> dict[str, Any]:
    return {
      path: inner(self._space[path]).store(v) for path, v in values.items()
    }

  def _check_settings(self, settings: Mapping[str, Any]) -> None:
    """Compares the settings with those of the study, or records them.

    Raises:
      UserError: they differ; shows the first difference.
    """
    known = self.study.user_attrs.get("settings")
    if known is None:
      self.study.set_user_attr("settings", dict(settings))
      return
    before, now = (_flat(one) for one in (known, settings))
    names = before.keys() | now.keys()
    # The space is first: its paths are not among those of the config.
    for name in sorted(
      names, key=lambda name: (not name.startswith("s"), name)
    ):
      if before.get(name) != now.get(name):
        raise UserError(
          f"expected the search to go on with {name} {before.get(name)}",
          f"got {now.get(name)}",
          "choose another --workdir or --storage for another search",
        )

  def _continue_dead(self) -> None:
    """Drops the trials of processes that have ended, and enqueues them again.

    A process may end in between, so the trials that others dropped count too.
    """
    for one in self._all():
      if one.state is TrialState.RUNNING and self._has_ended(one):
        self._drop(one.number, ENDED)
    trials = self._all()
    alive = {_identity(one) for one in trials if not _is_dropped(one)}
    for one in trials:
      identity, attributes = _identity(one), one.user_attrs
      if attributes.get(DROPPED) != ENDED or identity in alive:
        continue
      alive.add(identity)
      if one.params or OWN in attributes:
        kept = {k: attributes[k] for k in (OWN, POINT) if k in attributes}
        self.study.enqueue_trial(
          dict(one.params), user_attrs={CONTINUES: first_number(one), **kept}
        )

  def _has_ended(self, trial: FrozenTrial) -> bool:
    """Returns whether the process of a running trial has ended."""
    lease = trial.user_attrs.get(LEASE)
    if lease is None:
      assert trial.datetime_start is not None
      age = time.time() - trial.datetime_start.timestamp()
      return age > UNCLAIMED_SECONDS
    own = lease["worker"] == self._worker
    return not own and is_dead(lease["worker"], lease["time"])

  def _is_surplus(
    self, trial: FrozenTrial, counted: Mapping[int, FrozenTrial]
  ) -> bool:
    """Returns whether other processes have asked for the last trials too."""
    attributes = trial.user_attrs
    if not self._trials or POINT in attributes or CONTINUES in attributes:
      return False
    return sum(number < trial.number for number in counted) >= self._trials

  def _drop(self, number: int, reason: str) -> None:
    """Ends a trial that does not count."""
    storage = self.study._storage
    trial_id = storage.get_trial_id_from_study_id_trial_number(
      self.study._study_id, number
    )
    try:
      storage.set_trial_user_attr(trial_id, DROPPED, reason)
      storage.set_trial_state_values(trial_id, TrialState.FAIL)
    except (RuntimeError, optuna.exceptions.UpdateFinishedTrialError):
      pass  # Another process has ended it.

  def _hold(self, trial: optuna.Trial) -> None:
    self._sign(trial)
    with self._held_lock:
      self._held[trial.number] = trial

  def _sign(self, trial: optuna.Trial) -> None:
    lease = {"worker": self._worker, "time": time.time()}
    trial.set_user_attr(LEASE, lease)

  def _renew(self) -> None:
    """Gives signs of life until the study is closed."""
    while not self._closed.wait(RENEW_SECONDS):
      with self._held_lock:
        held = list(self._held.values())
      for trial in held:
        # It may have ended, or the storage be unreachable for a while.
        with contextlib.suppress(Exception):
          self._sign(trial)
    self.study._storage.remove_session()

  def _finish(
    self,
    point: Point,
    state: TrialState,
    value: float | None,
    attributes: Mapping[str, Any],
  ) -> None:
    with self._held_lock:
      self._held.pop(point.trial.number, None)
    # Another process may have taken it over while this one was suspended.
    with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
      for name, content in attributes.items():
        point.trial.set_user_attr(name, content)
      self.study.tell(point.trial, value, state=state, skip_if_finished=True)


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
  """Returns settings of which some are mappings, such as `space PATH`."""
  flat = {}
  for name, value in settings.items():
    if isinstance(value, Mapping):
      flat |= {f"{name} {key}": item for key, item in value.items()}
    else:
      flat[name] = value
  return flat


def _is_dropped(trial: FrozenTrial) -> bool:
  return DROPPED in trial.user_attrs


def first_number(trial: FrozenTrial) -> int:
  """Returns the number of the trial that a trial continues, or its own."""
  return trial.user_attrs.get(CONTINUES, trial.number)


def _identity(trial: FrozenTrial) -> tuple[str, int]:
  """Returns an identity that a trial shares with those that continue it."""
  if POINT in trial.user_attrs:
    return POINT, trial.user_attrs[POINT]
  return CONTINUES, first_number(trial)


def _labels(values: Mapping[str, Any]) -> dict[str, str]:
  return {path: label(value) for path, value in values.items()}

"""Many runs in one compiled program, each with its own hyperparameters."""

import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from dlcore import data, sharding
from dlcore.errors import UserError
from dlcore.training.decisions import (
  Decisions,
  Plateau,
  check_best_by,
  decide,
  is_exhausted,
  lower_rate,
)
from dlcore.training.intervals import Intervals
from dlcore.training.population_evaluation import PopulationEvaluator
from dlcore.training.population_programs import (
  Build,
  Member,
  PopulationPrograms,
)
from dlcore.training.signals import Stopped, stop_requests
from dlcore.training.state import State, evaluation_variables
from dlcore.typing import Initial, ModelState, Params, PyTree

RUNNING, FINISHED, EXHAUSTED, STOPPED, HALTED = (
  *("running", "finished", "exhausted"),
  *("stopped", "halted"),
)
"""The outcomes of a member: it made all steps, its patience ended, the caller
stopped it, or too many of its updates in a row were not finite."""


class MemberResult(NamedTuple):
  """The result of one member."""

  outcome: str
  step: int
  """The last step that counts for it."""

  best_step: int
  """The step with the best validation, -1 without any."""

  values: dict[str, float]
  """The metrics of that validation."""

  variables: tuple[Params, ModelState] | None
  """The evaluated parameters and state of that step, NumPy arrays."""


OnEvaluation = Callable[[int, Mapping[int, Mapping[str, float]]], Iterable[int]]
"""`(step, {member: metrics}) -> members to stop`."""


class Population:
  """Trains several runs as one program.

  A member takes the same batches and keys, and makes the same updates, as a
  run of `fit` with its hyperparameters and its seed. An update whose loss or
  gradient is not finite is skipped; after several in a row the member halts,
  since a population does not roll back. The end of a member does not change
  the others. The programs are compiled at their first use and serve all calls
  of `fit` with as many members.
  """

  def __init__(
    self,
    build: Build,
    train: data.Source,
    valid: data.Source,
    *,
    steps: int,
    batch_size: int = 128,
    order: data.Order | None = None,
    initial: Initial | None = None,
    ema: float = 0.0,
    accumulate: int = 1,
    plateau: Plateau | None = None,
    patience: int = 0,
    min_delta: float = 0.0,
    spike_factor: float = 0.0,
    max_consecutive_skips: int = 3,
    best_by: str = "-loss",
    eval_every: int = 0,
    eval_batch_size: int = 512,
    placement: str = "auto",
    steps_per_call: int = 0,
    devices: Sequence[jax.Device] | None = None,
  ):
    """Places the data.

    Args:
      build: `hparams -> Parts`: the task, the optimizer and the penalty. It is
        called while the step is traced, with traced numbers.
      train: the examples to learn from.
      valid: the examples that decide which step is the best.
      steps: number of updates; this and all further arguments as for `fit`.
      batch_size: examples in a batch of one member.
      order: which examples make a batch.
      initial: replaces random values before the first step.
      ema: decay of the average of the weights.
      accumulate: number of micro-batches.
      plateau: when the learning rate of a member falls.
      patience: evaluations without an improvement after which a member ends.
      min_delta: the least improvement that counts.
      spike_factor: updates with a gradient norm of more than this multiple of
        the usual one are skipped.
      max_consecutive_skips: number of skipped updates in a row at which a
        member halts.
      best_by: the metric that decides which step is the best.
      eval_every: steps between evaluations.
      eval_batch_size: examples in a batch of evaluation.
      placement: of the data.
      steps_per_call: steps in one compiled call.
      devices: the members are divided among them.
    """
    devices = jax.devices() if devices is None else devices
    self._order = order or data.shuffled(train.size, batch_size)
    self._best_by, self._min_delta = best_by, min_delta
    self._plateau, self._patience = plateau, patience
    partitioner = sharding.partitioner(len(devices), devices=devices)
    self._devices = len(devices)
    self._programs = PopulationPrograms(
      build,
      train,
      self._order,
      partitioner,
      initial=initial,
      ema=ema,
      accumulate=accumulate,
      spike_factor=spike_factor,
      max_consecutive_skips=max_consecutive_skips,
      placement=placement,
      others=(valid,),
    )
    self._evaluate = PopulationEvaluator(
      build,
      valid,
      partitioner,
      batch_size=eval_batch_size,
      placement=placement,
    )
    self._intervals = Intervals.create(
      steps,
      steps_per_epoch=train.size // self._order.batch_size,
      eval_every=eval_every,
      checkpoint_every=0,
      keep_every=0,
      steps_per_call=steps_per_call if len(self._order.shapes) == 1 else 1,
      counts_evaluations=patience > 0 or plateau is not None,
    )

  def fit(
    self,
    members: Sequence[Member],
    on_evaluation: OnEvaluation = lambda step, values: (),
  ) -> list[MemberResult]:
    """Trains the members together.

    Args:
      members: their hyperparameters and seeds.
      on_evaluation: called after each evaluation with the metrics of the
        running members; returns those that end here. When half of the members
        have ended, the others continue in a smaller program.

    Returns:
      The results in the order of `members`.

    Raises:
      UserError: the members differ in the names of their hyperparameters, or
        `best_by` is not a metric.
      Stopped: SIGTERM or SIGINT was received.
    """
    check_members(members, self._order)
    programs, intervals = self._programs, self._intervals
    records = [_Record() for _ in members]
    lanes = self._lanes(range(len(members)))
    states = programs.init([members[i] for i in lanes])
    best = programs.copy(evaluation_variables(states))
    step = 0
    with stop_requests() as stop:
      while True:
        # 1. Evaluate, and decide for each member.
        if intervals.evaluates(step):
          values = self._evaluate(states, [members[i] for i in lanes])
          records, improved, scales = self._decide(
            records, lanes, step, states, values
          )
          best = programs.select(improved, evaluation_variables(states), best)
          states = states.replace(rate_scale=programs.put(scales))
          evaluated = {i: one for i, one in zip(lanes, values, strict=True)
                       if records[i].step == step}  # fmt: skip
          for i in on_evaluation(step, evaluated):
            records[i] = records[i].ended(STOPPED)
        running = [i for i, one in enumerate(records) if one.outcome == RUNNING]

        # 2. Leave.
        if stop:
          raise Stopped(stop.number, step, states)
        if step == intervals.steps or not running:
          break

        # 3. Drop the members that ended, if they are half of the program.
        if 2 * len(running) <= len(set(lanes)):
          self._keep(records, lanes, best)
          remaining = self._lanes(running)
          rows = np.array([lanes.index(i) for i in remaining])
          states, best = programs.take((states, best), rows)
          lanes = remaining

        # 4. Make the steps up to the next evaluation.
        pause = intervals.next_pause(step)
        seeds = [members[i].seed for i in lanes]
        states, step = programs.advance(
          states, seeds, step, intervals, pause, stop
        )
    self._keep(records, lanes, best)
    return [one.result() for one in records]

  def _lanes(self, indices: Iterable[int]) -> list[int]:
    """Returns the member of each row of the program.

    Rows are added until the devices divide them; they repeat a member.
    """
    lanes = list(indices)
    return lanes + [lanes[-1]] * (-len(lanes) % self._devices)

  def _decide(
    self,
    records: Sequence["_Record"],
    lanes: Sequence[int],
    step: int,
    states: State,
    values: Sequence[Mapping[str, float]],
  ) -> tuple[list["_Record"], np.ndarray, np.ndarray]:
    """Records an evaluation of all members that are running.

    Returns:
      The records, which rows are the best so far, bool `[P]`, and the factors
      of their learning rates, float32 `[P]`.
    """
    records, improved = list(records), np.zeros(len(lanes), bool)
    halted = np.asarray(states.guard["halted"])
    scales = np.array(states.rate_scale)
    for row, i in enumerate(lanes):
      one = records[i]
      if one.outcome != RUNNING or one.step == step:
        continue
      check_best_by(self._best_by, values[row])
      decisions, improved[row] = decide(
        one.decisions, step, dict(values[row]), self._best_by, self._min_delta
      )
      decisions, scales[row] = lower_rate(decisions, scales[row], self._plateau)
      outcome = RUNNING
      if halted[row]:
        outcome = HALTED
      elif step == self._intervals.steps:
        outcome = FINISHED
      elif is_exhausted(decisions, self._patience):
        outcome = EXHAUSTED
      records[i] = one._replace(
        decisions=decisions,
        outcome=outcome,
        step=step,
        values=dict(values[row]) if improved[row] else one.values,
      )
    return records, improved, scales

  def _keep(
    self, records: list["_Record"], lanes: Sequence[int], best: PyTree
  ) -> None:
    """Copies the best variables of the members that ended to the host."""
    for row, i in enumerate(lanes):
      if records[i].outcome != RUNNING and records[i].variables is None:
        own = jax.tree.map(lambda leaf, row=row: np.asarray(leaf[row]), best)
        records[i] = records[i]._replace(variables=own)


class _Record(NamedTuple):
  """The progress of a member."""

  decisions: Decisions = Decisions()
  outcome: str = RUNNING
  step: int = 0
  values: Mapping[str, float] = types.MappingProxyType({})
  variables: tuple[Params, ModelState] | None = None

  def ended(self, outcome: str) -> "_Record":
    """Returns the record with the outcome, unless the member has ended."""
    return self._replace(outcome=outcome) if self.outcome == RUNNING else self

  def result(self) -> MemberResult:
    best_step = int(self.decisions.best_step)
    return MemberResult(
      self.outcome, self.step, best_step, dict(self.values), self.variables
    )


def check_members(members: Sequence[Member], order: data.Order) -> None:
  """Checks that one program can train the members.

  Raises:
    UserError: there are none, they have different hyperparameters, or batches
      of different lengths.
  """
  if not members:
    raise UserError("expected members to have one member or more", "got none")
  for member in members:
    if member.hparams.keys() != members[0].hparams.keys():
      raise UserError(
        "expected members with hyperparameters of the same names",
        f"got {', '.join(sorted(members[0].hparams))} and "
        f"{', '.join(sorted(member.hparams))}",
      )
  if len(order.shapes) > 1 and len({member.seed for member in members}) > 1:
    raise UserError(
      "expected members of one seed with an order of several lengths",
      "got several seeds, whose batches have different lengths",
      "train each seed in a population of its own",
    )

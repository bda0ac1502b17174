"""The parts of `fit`: its step, evaluators, initial state, files."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from dlcore import data, optim, sharding, storage
from dlcore.errors import UserError
from dlcore.task import CARRY, Task
from dlcore.training.checks import check_best_by
from dlcore.training.decisions import Decisions, roll_back
from dlcore.training.evaluation import Evaluator
from dlcore.training.memory import MemoryCheckpoints, NullLog
from dlcore.training.state import State, init_guard, init_state, run_key
from dlcore.training.step import (
  Step,
  accumulate_metrics,
  average,
  guard,
  make_step,
)
from dlcore.training.update import Penalty
from dlcore.typing import Batch, ModelState, Params

SAVE_SECONDS = 5.0
"""Seconds between writes if the user does not ask for certain steps. A write
of many small arrays takes 0.1 s, as much as a thousand small steps."""

Create = Callable[..., State]
"""`(batch, variables=None) -> State`, a pure function."""

Initial = Callable[[Params, ModelState], tuple[Params, ModelState]]
"""Replaces random initial variables, see `fit`."""


def build_step(
  task: Task,
  tx: optax.GradientTransformation,
  batch: Batch,
  *,
  seed: int,
  penalty: Penalty | None,
  accumulate: int,
  ema: float,
  spike_factor: float,
  max_consecutive_skips: int,
  log_every: int,
  axis_name: str | None,
) -> tuple[Step, Create]:
  """Returns the step of `fit`, and the function that creates its state."""
  averages = needs_average(task, tx, batch, ema)
  step = make_step(
    task, tx, penalty=penalty, accumulate=accumulate, axis_name=axis_name
  )
  if averages:
    step = average(step, ema)
  step = guard(
    step,
    spike_factor=spike_factor,
    max_consecutive_skips=max_consecutive_skips,
  )
  create = partial(
    init_state,
    task,
    tx,
    seed=seed,
    average=averages,
    guard=init_guard(spikes=spike_factor > 0),
    metrics=True,
    axis_name=axis_name,
  )
  return accumulate_metrics(step, log_every), create


def needs_average(
  task: Task, tx: optax.GradientTransformation, batch: Batch, ema: float
) -> bool:
  """Returns whether evaluation uses other weights than `params`.

  That is an EMA, or the average of a schedule-free optimizer, which a
  checkpoint must hold to be read without the optimizer.
  """
  params, _ = jax.eval_shape(task.init, jax.random.key(0), batch)
  opt_state = jax.eval_shape(tx.init, params)
  return ema > 0 or optim.is_schedule_free(opt_state)


def name_splits(
  valid: data.Source | Mapping[str, data.Source] | None,
) -> dict[str, data.Source]:
  """Returns the validation sources by split: `valid` or `valid/NAME`."""
  if valid is None:
    return {}
  if isinstance(valid, data.Source):
    return {"valid": valid}
  return {f"valid/{name}": source for name, source in valid.items()}


def build_evaluators(
  task: Task,
  sources: Mapping[str, data.Source],
  partitioner: sharding.Partitioner,
  **settings: Any,
) -> dict[str, Evaluator]:
  """Returns an evaluator for each source; `settings` are those of the class."""
  return {
    split: Evaluator(task, source, partitioner=partitioner, **settings)
    for split, source in sources.items()
  }


def compile_evaluators(
  task: Task, evaluators: Mapping[str, Evaluator], state: State, best_by: str
) -> None:
  """Compiles the evaluators and checks that the first one has `best_by`.

  Raises:
    UserError: it has no such metric.
  """
  names = [evaluator.compile(state) for evaluator in evaluators.values()]
  # The metrics of a score are known only after an evaluation.
  if names and task.score is None:
    check_best_by(best_by, names[0])


def open_checkpoints(
  folder: Path | None, checkpoint_every: int, keep_every: int
) -> storage.Checkpoints | MemoryCheckpoints:
  """Returns the checkpoints of a run, a context manager."""
  if folder is None:
    return MemoryCheckpoints()
  return storage.Checkpoints(
    folder / "checkpoints",
    interval=0.0 if checkpoint_every else SAVE_SECONDS,
    keep_every=keep_every,
  )


def open_log(folder: Path | None, step: int):
  """Returns the log of a run, without the lines after `step`.

  It is a context manager that closes the log.
  """
  log = NullLog() if folder is None else storage.MetricLog(folder, step)
  return contextlib.closing(log)


@dataclasses.dataclass(frozen=True)
class StateInitializer:
  """Creates the state of a run, restores it, or rolls it back."""

  create: Create
  batch: Batch
  seed: int
  initial: Initial | None
  partitioner: sharding.Partitioner

  @functools.cached_property
  def template(self) -> dict[str, Any]:
    """The shapes of a checkpoint, and the key that must be the same."""
    abstract = jax.eval_shape(self.create, self.batch)
    state = abstract.replace(key=np.asarray(run_key(self.seed)))
    return {"state": state, "decisions": Decisions()}

  def restore_or_init(
    self, saved: Mapping[str, Any] | None
  ) -> tuple[State, Decisions]:
    """Returns the state and decisions of a checkpoint, or the first ones."""
    return self.init() if saved is None else self.restore(saved)

  def init(self) -> tuple[State, Decisions]:
    """Returns the state before the first step, and empty decisions."""
    state = self._create(self.batch)
    if self.initial is not None:
      variables = self.initial(state.params, state.model_state)
      state = self._create(self.batch, variables=variables)
    # On CPU, reading one array of a program that ran out of memory hangs;
    # waiting for all of them raises.
    jax.block_until_ready(state)
    return self.partitioner.put_state(state), Decisions()

  def restore(self, saved: Mapping[str, Any]) -> tuple[State, Decisions]:
    """Returns the state on its devices and the decisions of a checkpoint."""
    return self.partitioner.put_state(saved["state"]), saved["decisions"]

  def roll_back(
    self,
    halted: State,
    decisions: Decisions,
    checkpoints: storage.Checkpoints | MemoryCheckpoints,
  ) -> tuple[State, Decisions]:
    """Returns the state from which a halted run tries again.

    That is the one of the last save, or the first one if there is no save.

    Raises:
      UserError: the save is damaged.
    """
    step, saved = int(decisions.saved_step), None
    if step >= 0:
      saved = checkpoints.roll_back(step, self.template)
      if saved is None:
        raise UserError(
          f"expected a good checkpoint of step {step}, to which this run rolls "
          "back after several skipped updates",
          "it is damaged or missing",
          "run the same command again: it continues from an older checkpoint",
        )
    carry = None
    if CARRY in halted.model_state:
      carry = self._create(self.batch).model_state[CARRY]
    state, decisions = roll_back(
      self.restore_or_init(saved), (halted, decisions), carry
    )
    return self.partitioner.put_state(state), decisions

  @functools.cached_property
  def _create(self) -> Create:
    """The compiled `create`: a roll-back does not compile it again."""
    options = self.partitioner.init_compiler_options
    return jax.jit(self.create, compiler_options=options)

"""Builders of the parts of `fit`: its step, evaluators, files."""

import contextlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import optax

from dlcore import data, optim, sharding, storage
from dlcore.errors import UserError
from dlcore.task import Task
from dlcore.training.decisions import check_best_by
from dlcore.training.evaluation import Evaluator
from dlcore.training.feed import Feed
from dlcore.training.fingerprint import TracedStep
from dlcore.training.memory import MemoryCheckpoints, NullLog
from dlcore.training.memory_estimate import MemoryEstimate
from dlcore.training.programs import gather
from dlcore.training.state import State, init_guard, init_state
from dlcore.training.state_initializer import Create
from dlcore.training.step import (
  Step,
  average,
  guard,
  make_step,
  sum_metrics,
)
from dlcore.training.update import Penalty
from dlcore.typing import Batch

SAVE_SECONDS = 5.0
"""Seconds between writes if the user does not ask for certain steps. A write
of many small arrays takes 0.1 s, as much as a thousand small steps."""


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
) -> tuple[Step, TracedStep, Create]:
  """Returns the step of `fit` and the function that creates its state.

  Between them is the part of the step that decides the numbers of a run: all
  but the sums of the log.
  """
  averages = needs_average(task, tx, batch, ema)
  step = make_step(
    task, tx, penalty=penalty, accumulate=accumulate, axis_name=axis_name
  )
  if averages:
    step = average(step, ema)
  traced = TracedStep(
    guard(
      step,
      spike_factor=spike_factor,
      max_consecutive_skips=max_consecutive_skips,
    )
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
  return sum_metrics(traced, log_every), traced, create


def trace_step(step: Step, state: State, feed: Feed) -> None:
  """Traces the step of a run that compiles none, for its fingerprint.

  Args:
    step: of `build_step`.
    state: shapes and dtypes of the train state.
    feed: gives the shapes of the batches.
  """
  for length, rows in feed.examples().items():

    def run(state: State, arrays: Batch, rows: Batch, length=length):
      return step(state, gather(arrays, rows, feed.sequences, length))

    jax.eval_shape(run, state, feed.arrays, rows)


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
  if not isinstance(valid, Mapping):
    raise UserError(
      "expected valid to be a source, or a mapping of sources by name",
      f"got a value of type {type(valid).__name__}",
    )
  return {f"valid/{name}": source for name, source in valid.items()}


def build_evaluators(
  task: Task,
  sources: Mapping[str, data.Source],
  partitioner: sharding.Partitioner,
  *,
  placement: str,
  **settings: Any,
) -> dict[str, Evaluator]:
  """Returns an evaluator for each source.

  Args:
    task: the learning problem.
    sources: by split.
    partitioner: the devices.
    placement: see `fit`; all sources together must fit on the device.
    **settings: further arguments of `Evaluator`.
  """
  fits = sharding.fits_on_device(placement, partitioner, *sources.values())
  placement = "device" if fits else "stream"
  return {
    split: Evaluator(
      task, source, partitioner=partitioner, placement=placement, **settings
    )
    for split, source in sources.items()
  }


def compile_evaluators(
  evaluators: Mapping[str, Evaluator], state: State, best_by: str
) -> None:
  """Compiles the evaluators and checks that the first one has `best_by`.

  Raises:
    UserError: it has no such metric.
  """
  names = [evaluator.compile(state) for evaluator in evaluators.values()]
  if names:
    check_best_by(best_by, names[0])


def check_evaluation_memory(
  memory: MemoryEstimate, evaluators: Mapping[str, Evaluator]
) -> None:
  """Checks that the compiled evaluations fit into memory.

  Raises:
    UserError: one does not.
  """
  programs = [evaluator.program for evaluator in evaluators.values()]
  evaluation = memory._replace(gradients=0).with_programs(programs)
  evaluation.check("set eval_batch_size to a smaller value")


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

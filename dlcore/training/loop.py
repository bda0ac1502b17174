"""The loop: batches in, steps, a line of the log, an evaluation, a save."""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
import optax

from dlcore.data.source import Source
from dlcore.errors import UserError, nearest
from dlcore.scale import data_parallel, on_device
from dlcore.task import Task
from dlcore.training import calls, checkpoint, decisions, signals
from dlcore.training import state as states
from dlcore.training.decisions import Plateau
from dlcore.training.diagnosis import explain
from dlcore.training.evaluation import Evaluator
from dlcore.training.logging import Watch
from dlcore.training.phases import Phases
from dlcore.training.state import State
from dlcore.training.step import make_step
from dlcore.typing import Array, Batch, Params, Schedule

log = logging.getLogger("dlcore")

SAVE_INTERVAL = 5.0
"""Seconds between writes if the user does not ask for certain steps. A write
of many small arrays takes 0.1 s, as much as a thousand small steps."""


def fit(
  task: Task,
  tx: optax.GradientTransformation,
  train: Source,
  valid: Source | None = None,
  *,
  steps: int,
  seed: int = 0,
  workdir: str | Path | None = None,
  batch_size: int = 128,
  augment: Callable[[Array, Batch, Array], Batch] | None = None,
  penalty: Callable[[Params], Array] | None = None,
  ema: float = 0.0,
  accumulate: int = 1,
  learning_rate: Schedule | None = None,
  plateau: Plateau | None = None,
  patience: int = 0,
  spike: float = 0.0,
  tolerate: int = 3,
  recoveries: int = 3,
  best_by: str = "-loss",
  log_every: int = 50,
  eval_every: int = 0,
  checkpoint_every: int = 0,
  eval_batch_size: int = 512,
  placement: str = "auto",
  workers: int = 0,
  steps_per_call: int = 0,
  compiler: str = "jit",
  devices: Sequence[jax.Device] | None = None,
  progress: bool = True,
  phases: Phases | None = None,
) -> State:
  """Trains, or goes on from the newest good checkpoint in `workdir`.

  Batches and random keys are functions of (seed, batch index), and everything
  that a decision depends on is in the state: a run that was stopped in any
  way and goes on ends with the same bits as one that was not.

  Args:
    task: what is learned.
    tx: the Optax transformation, clipping included.
    train: the examples to learn from.
    valid: the examples that decide which checkpoint is the best, or None.
    steps: number of updates.
    seed: of the initial parameters, the order of the data and all keys.
    workdir: folder of the log and the checkpoints; None keeps nothing.
    batch_size: examples in a batch, over all devices.
    augment: `(key, batch, slots) -> batch`, see `augment.compose`.
    penalty: `params -> scalar`, see `optim.penalty`.
    ema: decay of an average of the parameters that evaluation uses; 0: none.
    accumulate: parts of a batch that are computed one after the other, where
      a whole one does not fit into memory.
    learning_rate: `step -> rate`, only to be shown in the log.
    plateau: when to lower the rate because evaluations get no better.
    patience: evaluations without a new best after which the run ends, with
      the best state; 0 for never.
    spike: an update whose gradient is so many times as long as usual is not
      applied; 0 for none.
    tolerate: after so many updates in a row that were not applied, the run
      goes back to its last save, passes over the batches and halves the rate.
    recoveries: how often that may happen with no progress in between.
    best_by: the metric that names the best step; a leading minus says that
      less is better.
    log_every: steps between lines of the log.
    eval_every: steps between evaluations; 0 for an epoch, at least 200.
    checkpoint_every: steps between saves; a new best is always saved. 0 for
      every evaluation, but none is written sooner than 5 s after the last:
      the newest and the best wait in memory.
    eval_batch_size: examples in a batch of evaluation.
    placement: `"device"` keeps the data on the device, `"stream"` reads
      every batch on the host, `"auto"` chooses by size. Same batches.
    workers: processes that read a stream; 0 reads in threads.
    steps_per_call: steps in one compiled call; 0 chooses by backend.
    compiler: `"jit"` or `"pmap"`.
    devices: by default all local ones.
    progress: whether to show progress on standard error.
    phases: adds up where the time goes.

  Returns:
    The state after the last step, or the best one if patience ended.

  Raises:
    UserError: a value is out of range, losses or gradients stay not finite,
      the disk is full; each says what to do.
    Stopped: SIGTERM or SIGINT came, and the state was saved.
  """
  _check(train.size, locals())
  # Not a share of `steps`: a run that is made longer keeps its evaluations.
  eval_every = eval_every or max(train.size // batch_size, 200)
  interval = 0.0 if checkpoint_every else SAVE_INTERVAL
  checkpoint_every = checkpoint_every or eval_every
  phases = phases or Phases()
  folder = None if workdir is None else Path(workdir)
  parallel = data_parallel(batch_size, compiler, devices)
  _check_parts(batch_size, parallel.size, accumulate)
  resident = on_device(placement, parallel, train, valid)
  dataset = parallel.replicate(dict(train.arrays or {})) if resident else {}

  def create() -> State:
    rows = np.arange(2, dtype=np.int32) % train.size
    sample = {**train.read(rows), "index": rows}
    return states.create(
      task,
      tx,
      sample,
      seed,
      ema=ema > 0,
      typical=spike > 0,
      axis_name=parallel.axis_name,
    )

  with phases("compile"):
    state = create()
  with phases("checkpoint"):
    saves = None
    if folder:
      saves = checkpoint.Checkpoints(folder / "checkpoints", interval)
      state = saves.restore(state) or state
  state = parallel.replicate(state)
  begun = int(state.step)
  step_function = make_step(
    task,
    tx,
    augment=augment,
    penalty=penalty,
    ema=ema,
    learning_rate=learning_rate,
    log_every=log_every,
    accumulate=accumulate,
    spike=spike,
    tolerate=tolerate,
    axis_name=parallel.axis_name,
  )
  plan = calls.Plan(steps, eval_every, checkpoint_every, steps_per_call)

  def feed_from(state: State) -> Iterator[tuple[int, Batch]]:
    step, batch = int(state.step), int(state.batch_index)
    stream = not resident
    return calls.feed(
      train, plan, step, batch, seed, batch_size, stream, workers
    )

  feed = feed_from(state)
  run = calls.Compiled(parallel, step_function)
  evaluate = None
  if valid is not None:
    evaluate = Evaluator(
      task,
      valid,
      seed=seed,
      batch_size=eval_batch_size,
      placement=placement,
      parallel=parallel,
    )
  watch = Watch(
    folder,
    begun,
    steps,
    task.derived,
    log_every=log_every,
    batch_size=batch_size,
    overlap=parallel.overlaps,
    progress=progress,
    phases=phases,
  )

  step, seen, unsaved = begun, int(state.best["seen"]), False
  champion = None
  try:
    # Handlers do not run inside a compilation, so that comes first: until
    # then a signal ends the process at once, and there is nothing to save.
    counts = set(plan.counts(begun))
    feed = run.prepare(feed, counts, state, dataset, phases)
    if evaluate is not None and begun < steps:
      with phases("compile"):
        _named(best_by, evaluate.compile(state.evaluated, state.extra))
    done = decisions.exhausted(state, patience, eval_every)
    with signals.handled() as stop:
      while True:
        asked, best = stop.asked(), False
        if asked or plan.pauses(step):
          with phases("step"):
            watch.flush()
        if watch.halted:
          feed.close()
          back = _back(state, saves, create, recoveries)
          if back is None:
            raise explain(
              task,
              augment,
              state,
              dataset,
              train,
              seed,
              batch_size,
              parallel.axis_name,
              folder,
            )
          state = parallel.replicate(back)
          step, seen = int(state.step), int(state.best["seen"])
          unsaved = False
          watch.rewind(step)
          feed = feed_from(state)
        if evaluate is not None and plan.evaluates(step) and seen < step:
          with phases("evaluation"):
            values = evaluate(state.evaluated, state.extra, stop.asked)
            if values is None:
              asked = True
            else:
              state, best = decisions.judge(
                state, step, values, best_by, plateau, eval_every
              )
              watch.write(step, "valid", values)
              seen, unsaved = step, True
              done = decisions.exhausted(state, patience, eval_every)
        due = best or done or plan.saves(step)
        if unsaved and (asked or due):
          with phases("checkpoint"):
            if due:
              state = decisions.sure(state, step)
            if best and patience and not saves:
              champion = jax.tree.map(np.array, state)
            if saves:
              kept = {int(state.best["step"]), int(state.trouble["good"])}
              saves.save(state, kept, watch.sync)
          unsaved = False
        if asked:
          if saves:
            saves.wait()
          raise signals.Stopped(stop.number, step)
        if step == steps or done:
          break
        with phases("feed"):
          count, batch = next(feed)
        with phases("step"):
          state, entry = run(count, state, dataset, batch)
          watch.add(step, count, entry)
        step += count
        phases.steps += count
        unsaved = True
    if saves:
      with phases("checkpoint"):
        saves.wait()
        best_step = int(state.best["step"])
        if done and checkpoint.good(saves.folder, best_step):
          champion = checkpoint.restore(saves.folder, state, best_step)
  except BaseException:
    if saves:
      saves.abandon()
    raise
  finally:
    feed.close()
    watch.close()
  if saves:
    saves.close()
  return parallel.replicate(champion) if done and champion else state


def _back(
  halted: State,
  saves: checkpoint.Checkpoints | None,
  create: Callable[[], State],
  recoveries: int,
) -> State | None:
  """Returns the state from which to try again, None to give up."""
  if saves is None or int(halted.trouble["recoveries"]) >= recoveries:
    return None
  good = int(halted.trouble["good"])
  back = saves.go_back(good, halted)
  if back is None and good >= 0:
    return None
  back = decisions.recovered(back or create(), halted)
  log.warning(
    "step %d: %d updates in a row were not applied; going back to step %d, "
    "past the batches before %d, with %g of the learning rate",
    int(halted.step),
    int(halted.trouble["in_a_row"]),
    int(back.step),
    int(back.batch_index),
    float(back.rate_scale),
  )
  return back


def _named(best_by: str, metrics: set[str]) -> None:
  """Checks that `best_by` is one of the `metrics`, maybe with a minus."""
  name = best_by.removeprefix("-")
  if name not in metrics:
    raise UserError(
      "expected training.best_by to name a metric of the validation",
      f"got {best_by!r}",
      nearest(name, metrics),
    )


LEAST = {
  "steps": 1,
  "seed": 0,
  "batch_size": 1,
  "accumulate": 1,
  "patience": 0,
  "spike": 0,
  "tolerate": 1,
  "recoveries": 0,
  "log_every": 1,
  "eval_every": 0,
  "checkpoint_every": 0,
  "eval_batch_size": 1,
  "workers": 0,
  "steps_per_call": 0,
}
"""The least values of the numbers that `fit` takes."""


def _check(size: int, settings: dict) -> None:
  """Refuses numbers out of range, each with its name."""
  for name, least in LEAST.items():
    if settings[name] < least:
      raise UserError(
        f"expected {name} of at least {least}", f"got {settings[name]}"
      )
  if not 0 <= settings["ema"] < 1:
    raise UserError("expected ema from 0 to below 1", f"got {settings['ema']}")
  if settings["batch_size"] > size:
    raise UserError(
      f"expected a batch of at most {size} examples, the whole training set",
      f"got batch_size={settings['batch_size']}",
      "choose a smaller batch",
    )


def _check_parts(batch_size: int, devices: int, accumulate: int) -> None:
  share = batch_size // devices
  if share % accumulate:
    raise UserError(
      f"expected training.accumulate to divide the {share} examples of a "
      "device",
      f"got {accumulate}: {share} / {accumulate} = {share / accumulate:g}",
    )

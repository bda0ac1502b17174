"""What a user calls to train: checks its settings, builds the parts."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from dlcore import trees
from dlcore.data.source import Source
from dlcore.errors import UserError
from dlcore.optim.settings import check_pattern
from dlcore.scale import data_parallel, on_device
from dlcore.task import Task
from dlcore.training import calls
from dlcore.training import state as states
from dlcore.training.checkpoint import Checkpoints
from dlcore.training.decisions import Plateau
from dlcore.training.diagnosis import explain
from dlcore.training.evaluation import Evaluator
from dlcore.training.gradient import Augment
from dlcore.training.loop import Loop
from dlcore.training.phases import Phases
from dlcore.training.probe import Probe
from dlcore.training.state import State
from dlcore.training.step import make_step
from dlcore.training.watch import Watch
from dlcore.typing import Batch, Extra, Params, Schedule

Initial = Callable[[Params, Extra], tuple[Params, Extra]]

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
  augment: Augment | None = None,
  penalty: Callable[[Params], jax.Array] | None = None,
  initial: Initial | None = None,
  freeze: str = "",
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
  watch_every: int = 0,
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
    initial: `(params, extra) -> (params, extra)`, called before the first step
      of a run, not of one that goes on: puts others, of the same shapes and
      dtypes, in the place of random ones.
    freeze: regex over the paths of the parameters that are not trained, such
      as `"^(?!head/)"`; see `make_step`.
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
    watch_every: steps between looks at the norms of every layer, see `Probe`,
      each of which costs about a step; 0 for none.
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
  check_pattern("optim.freeze", freeze)
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
  plan = calls.Plan(steps, eval_every, checkpoint_every, steps_per_call)

  def create(given: tuple[Params, Extra] | None = None) -> State:
    state = states.create(
      task,
      tx,
      _sample(train),
      seed,
      freeze=freeze,
      ema=ema > 0,
      typical=spike > 0,
      axis_name=parallel.axis_name,
      given=given,
      compiler_options=parallel.once_options,
    )
    _check_frozen(state.params, freeze)
    return state

  def begin(state: State) -> State:
    return create(initial(state.params, state.extra)) if initial else state

  with phases("compile"):
    state = create()
  saves = restored = None
  with phases("checkpoint"):
    if folder:
      saves = Checkpoints(folder / "checkpoints", interval)
      restored = saves.restore(state)
  try:
    state = restored or begin(state)
  except BaseException:
    if saves:
      saves.abandon()
    raise
  begun = int(state.step)
  how: dict[str, Any] = {
    "augment": augment,
    "penalty": penalty,
    "freeze": freeze,
    "accumulate": accumulate,
  }
  step = make_step(
    task,
    tx,
    ema=ema,
    learning_rate=learning_rate,
    log_every=log_every,
    spike=spike,
    tolerate=tolerate,
    axis_name=parallel.axis_name,
    **how,
  )
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

  def feed(state: State) -> Iterator[tuple[int, Batch]]:
    first, stream = int(state.batch_index), not resident
    return calls.feed(
      train, plan, int(state.step), first, seed, batch_size, stream, workers
    )

  def failure(state: State) -> UserError:
    return explain(
      task,
      augment,
      state,
      dataset,
      train,
      seed,
      batch_size,
      freeze,
      parallel.axis_name,
      folder,
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
  return Loop(
    state=state,
    plan=plan,
    parallel=parallel,
    dataset=dataset,
    compiled=calls.Compiled(parallel, step),
    probe=Probe(task, tx, parallel, watch_every, **how),
    evaluate=evaluate,
    saves=saves,
    watch=watch,
    phases=phases,
    create=lambda: begin(create()),
    feed_from=feed,
    failure=failure,
    best_by=best_by,
    plateau=plateau,
    patience=patience,
    recoveries=recoveries,
  ).run()


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
  "watch_every": 0,
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


def _check_frozen(params: Params, freeze: str) -> None:
  """Refuses to freeze what is not there, or everything."""
  if not freeze:
    return
  trained, frozen = states.split(params, freeze)
  if jax.tree.leaves(trained) and jax.tree.leaves(frozen):
    return
  found = "all" if jax.tree.leaves(frozen) else "none"
  paths = list(trees.flatten(params))
  raise UserError(
    "expected optim.freeze to be found in the paths of some parameters",
    f"got {freeze!r}, which is found in {found}",
    f"the paths are {', '.join(paths[:6])}{', ...' if paths[6:] else ''}",
  )


def _sample(source: Source) -> Batch:
  """Returns two examples, for their shapes."""
  rows = np.arange(2, dtype=np.int32) % source.size
  return {**source.read(rows), "index": rows}

"""The training loop."""

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import optax

from dlcore import data, sharding
from dlcore.errors import check_choice
from dlcore.status_line import status
from dlcore.task import Task
from dlcore.training import checks, run_record, setup
from dlcore.training.bookkeeping import Bookkeeping
from dlcore.training.decisions import (
  Plateau,
  decide,
  is_exhausted,
  lower_rate,
  record_save,
)
from dlcore.training.diagnosis import diagnose
from dlcore.training.evaluation import evaluate_all
from dlcore.training.feed import Feed
from dlcore.training.intervals import Intervals
from dlcore.training.layer_statistics import SPLIT, LayerStatistics
from dlcore.training.memory_estimate import estimate_memory
from dlcore.training.monitor import Monitor
from dlcore.training.phases import Phases
from dlcore.training.profiling import Profiler
from dlcore.training.programs import compile_programs
from dlcore.training.progress import Progress
from dlcore.training.recalibration import Recalibration
from dlcore.training.sample_history import SampleHistory, Samples
from dlcore.training.signals import Stopped, stop_requests
from dlcore.training.state import State
from dlcore.training.state_initializer import StateInitializer
from dlcore.training.update import Penalty
from dlcore.typing import Initial

logger = logging.getLogger("dlcore")


class Result(NamedTuple):
  """The states that a run ends with; equal where the last one is the best."""

  last: State
  best: State


OnEvaluation = Callable[[int, Mapping[str, float]], bool]
"""`(step, metrics of the first validation source) -> whether the run ends
here`, for a search that compares it with others. It is not called again for
evaluations before a checkpoint."""


def fit(
  task: Task,
  tx: optax.GradientTransformation,
  train: data.Source,
  valid: data.Source | Mapping[str, data.Source] | None = None,
  *,
  steps: int,
  seed: int = 0,
  workdir: str | Path | None = None,
  batch_size: int = 128,
  order: data.Order | None = None,
  penalty: Penalty | None = None,
  initial: Initial | None = None,
  save_frozen: bool = True,
  ema: float = 0.0,
  accumulate: int = 1,
  plateau: Plateau | None = None,
  patience: int = 0,
  min_delta: float = 0.0,
  spike_factor: float = 0.0,
  max_consecutive_skips: int = 3,
  max_rollbacks: int = 3,
  best_by: str = "-loss",
  log_every: int = 0,
  layer_statistics_every: int = 0,
  eval_every: int = 0,
  checkpoint_every: int = 0,
  keep_every: int = 0,
  eval_batch_size: int = 512,
  placement: str = "auto",
  workers: int = 0,
  steps_per_call: int = 0,
  compiler: str = "jit",
  devices: Sequence[jax.Device] | None = None,
  memory_limit: float = 0.0,
  on_change: str = "error",
  settings: Mapping[str, Any] | None = None,
  samples: Samples | None = None,
  profile: tuple[int, int] | None = None,
  progress: bool = True,
  phases: Phases | None = None,
  on_evaluation: OnEvaluation | None = None,
) -> Result:
  """Trains a task, or continues from the newest good checkpoint in `workdir`.

  Batches and random keys are functions of (seed, batch index), and everything
  that a decision depends on is in the checkpoint: a run that was stopped in
  any way and continued ends with the same bits as one that was not.

  Continue with the same arguments, or choose another `workdir`. Data, seed,
  batch size, learning rates, optimizer, step and evaluation are compared with
  those of the run, and a difference is refused by name: functions by the
  programs that are traced from them, so their code counts as well. More
  `steps` continue the run if its schedule does not depend on its length. Not
  compared are the intervals of evaluations, logs and saves, the placement of
  the data, and programs of other versions or devices.

  Args:
    task: the learning problem.
    tx: any Optax transformation, clipping included. The log has the learning
      rate of those of `optim.create`.
    train: the examples to learn from.
    valid: the examples that decide which checkpoint is the best, or several
      such sources by name, of which the first decides; or None.
    steps: number of updates.
    seed: of the initial parameters, the order of the data and all keys.
    workdir: folder of the log and the checkpoints; None keeps the latest and
      the best state in memory.
    batch_size: examples in a batch, over all devices.
    order: which examples make a batch, by default `data.shuffled`; its own
      batch size takes the place of `batch_size`.
    penalty: `params -> scalar`, see `optim.penalty`.
    initial: `(params, model_state) -> (params, model_state)`, called before
      the first step, and again if the run rolls back to it: replaces random
      values by others of the same shapes and dtypes, such as pretrained ones.
    save_frozen: whether checkpoints hold the frozen parameters of the task.
      Otherwise a run that continues creates them as before its first step,
      for which `initial` must return the same ones.
    ema: decay of the exponential moving average of the weights that evaluation
      uses; 0 is off.
    accumulate: number of micro-batches that a batch is cut into, where a whole
      one does not fit into memory.
    plateau: when to lower the learning rate because evaluations stop improving.
    patience: evaluations without an improvement after which the run ends; 0
      for never.
    min_delta: how much better than at the last improvement the metric must be
      to count as an improvement for `patience` and `plateau`.
    spike_factor: an update whose gradient norm is more than this multiple of
      the usual one is skipped; 0 is off.
    max_consecutive_skips: number of skipped updates in a row after which the
      run rolls back to its last save, skips the batches up to there and halves
      the learning rate. Updates with a loss or gradient norm that is not
      finite are always skipped.
    max_rollbacks: how often that may happen without progress in between.
    best_by: the metric that decides which step is the best; a leading minus
      minimizes.
    log_every: steps between lines of the log; 0 for 50, or less so that there
      are 20 lines.
    layer_statistics_every: steps between measurements of every layer, see
      `LayerStatistics`, each of which costs about a step; 0 is off.
    eval_every: steps between evaluations; 0 for one epoch or 200 steps,
      whichever is more, and for 20 evaluations of a run of fewer than 4,000
      steps without `patience` and `plateau`. Another evaluation follows the
      last step.
    checkpoint_every: steps between saves; a new best is always saved. 0 for
      every evaluation, but at most one write in 5 s: the newest and the best
      state wait in memory.
    keep_every: checkpoints at multiples of this step are never deleted; 0 keeps
      the latest two and the best.
    eval_batch_size: examples in a batch of evaluation.
    placement: `"device"` keeps the data on the device, `"stream"` reads every
      batch on the host, `"auto"` chooses by size; the batches are the same.
    workers: processes that read a stream; 0 reads in threads.
    steps_per_call: steps in one compiled call; 0 chooses by backend. With an
      order of several lengths it is 1.
    compiler: `"jit"` or `"pmap"`.
    devices: by default all.
    memory_limit: memory that the run may take, in GiB; a run whose estimate is
      larger is refused before it allocates any. 0 for the free memory.
    on_change: `"error"` refuses arguments that differ from those of the run in
      `workdir`; `"warn"` continues with them and logs a warning.
    settings: JSON values that describe the parts, such as the width of the
      model: kept in `config.json`, compared, and shown in the report.
    samples: how the model generates texts, which `assets/samples.json` keeps of
      evaluations 1, 2, 4, 8, ... and of the last one, see `SampleHistory`.
    profile: `(first, last)`: a `jax.profiler` trace of the steps after `first`
      up to `last`, written to the folder `profile` in `workdir`, or in the
      current folder without one.
    progress: whether to show progress on standard error.
    phases: adds up the wall time by phase.
    on_evaluation: called after each evaluation; see `OnEvaluation`.

  Returns:
    The state after the last step and the best one.

  Raises:
    UserError: a value is out of range, the run does not fit into memory,
      losses or gradients stay not finite, or the disk is full.
    Stopped: SIGTERM or SIGINT was received, and the state was saved.
  """
  arguments = dict(locals())  # Only the arguments are local here.
  checks.check_ranges(arguments)
  checks.check_validation(valid, patience, plateau)
  check_choice("on_change", on_change, run_record.ON_CHANGE)
  phases = phases or Phases()

  # Devices, data and intervals.
  folder = None if workdir is None else Path(workdir)
  order = order or data.shuffled(train.size, batch_size)
  partitioner = sharding.partitioner(order.batch_size, compiler, devices)
  axis_name = partitioner.axis_name
  checks.check_batch(order, train.size, partitioner.size, accumulate)
  intervals = Intervals.create(
    steps,
    steps_per_epoch=train.size // order.batch_size,
    eval_every=eval_every,
    checkpoint_every=checkpoint_every,
    keep_every=keep_every,
    steps_per_call=steps_per_call if len(order.shapes) == 1 else 1,
    log_every=log_every,
    counts_evaluations=patience > 0 or plateau is not None,
    recorded=run_record.intervals(folder, steps),
  )
  splits = setup.name_splits(valid)
  feed = Feed(
    train,
    order,
    partitioner,
    seed=seed,
    placement=placement,
    workers=workers,
    others=tuple(splits.values()),
  )

  # The step and the first state.
  example = feed.read(0)
  step_function, traced, create = setup.build_step(
    task,
    tx,
    example,
    penalty=penalty,
    accumulate=accumulate,
    seed=seed,
    ema=ema,
    spike_factor=spike_factor,
    max_consecutive_skips=max_consecutive_skips,
    log_every=intervals.log_every,
    axis_name=axis_name,
  )
  initializer = StateInitializer(
    create, example, seed, initial, partitioner, save_frozen
  )

  # Measurements of layers, evaluations, and generated texts.
  statistics = LayerStatistics(
    task,
    tx,
    partitioner,
    layer_statistics_every,
    penalty=penalty,
    accumulate=accumulate,
  )
  recalibration = Recalibration(task, partitioner, enabled=ema == 0)
  evaluators = setup.build_evaluators(
    task,
    splits,
    partitioner,
    seed=seed,
    placement=placement,
    batch_size=eval_batch_size,
  )
  history = SampleHistory(samples, folder, partitioner, intervals)

  books = Bookkeeping(
    folder, arguments, order, {"train": train, **splits}, partitioner, intervals
  )
  abstract = initializer.abstract
  memory = estimate_memory(abstract, partitioner, memory_limit)
  memory.check()

  # Files, compiled programs and signal handlers.
  with contextlib.ExitStack() as stack:
    # The log is closed after the checkpoints, whose saves sync it.
    log_stack = stack.enter_context(contextlib.ExitStack())
    with phases("checkpoint"):
      checkpoints = stack.enter_context(
        setup.open_checkpoints(folder, checkpoint_every, keep_every)
      )
      has_begun = checkpoints.latest is not None
      books.compare(task, tx, abstract, has_begun=has_begun)
      saved = checkpoints.restore(initializer.template)
    with phases("compile"):
      step = int(saved["state"].step) if saved else 0
      checks.check_progress(steps, step)
      # Handlers do not run inside a compilation, so all of them come first:
      # until then a signal ends the process, and there is nothing to save.
      counts = set(intervals.step_counts(step))
      with status("compiling the step", enabled=progress and bool(counts)):
        programs = compile_programs(
          partitioner, step_function, abstract, feed, counts
        )
      first = () if saved else (initializer.program,)
      memory.with_programs([*first, *programs.values()]).check()
      state, decisions = initializer.restore_or_init(saved)
      if counts:
        with status("compiling the evaluation", enabled=progress):
          setup.compile_evaluators(evaluators, state, best_by)
        statistics.compile(state, feed)
        recalibration.compile(state, feed)
        history.compile(state)
        setup.check_evaluation_memory(memory, evaluators)
      elif axis_name is None:
        setup.trace_step(step_function, abstract, feed)
      finished = not counts or is_exhausted(decisions, patience)
      books.record(step, traced, finished=finished)
    history.rewind(step)
    metric_log = log_stack.enter_context(setup.open_log(folder, step))
    monitor = Monitor(
      metric_log,
      Progress(
        steps, step, enabled=progress, intervals=intervals, phases=phases
      ),
      task,
      log_every=intervals.log_every,
      batch_size=order.batch_size,
      overlap=partitioner.overlaps,
      skipped=int(state.guard["skipped"]),
      phases=phases,
    )
    stack.callback(monitor.close)
    monitor.show_best(best_by, decisions)
    profiler = stack.enter_context(Profiler(profile, folder))
    dispatches = feed.dispatches(state, intervals)
    stack.callback(lambda: dispatches.close())  # A rollback rebinds it.
    stop = stack.enter_context(stop_requests())
    unsaved = ended = False

    # Each iteration handles the pause at `step`, an evaluation or a save, and
    # then makes the steps up to the next one.
    while True:
      # 1. Flush the logs, which are read late: one may report a halt.
      with phases("step"):
        monitor.flush()

      # 2. Roll back if too many updates in a row were skipped.
      if monitor.halted:
        dispatches.close()
        if decisions.rollbacks >= max_rollbacks:
          batch = feed.read(int(state.batch_index) - 1)
          raise diagnose(task, state, batch, penalty, axis_name, folder)
        state, decisions = initializer.roll_back(state, decisions, checkpoints)
        step = int(state.step)
        metric_log.rewind(step)
        history.rewind(step)
        monitor.reset()
        dispatches = feed.dispatches(state, intervals)
        unsaved = False

      # 3. Evaluate, and decide: is it the best, does the rate fall?
      is_best = False
      if intervals.evaluates(step) and decisions.evaluated_step < step:
        with phases("evaluation"):
          state = recalibration(state, feed)
          results = evaluate_all(evaluators, state, stop)
        monitor.write_evaluation(step, results)
        if results:
          values = next(iter(results.values()))
          decisions, is_best = decide(
            decisions, step, values, best_by, min_delta
          )
          monitor.show_best(best_by, decisions)
          decisions, scale = lower_rate(decisions, state.rate_scale, plateau)
          with phases("evaluation"):
            is_last = is_exhausted(decisions, patience)
            history.add(step, state, is_last=is_last)
          state = state.replace(rate_scale=partitioner.replicate(scale))
          ended = on_evaluation is not None and on_evaluation(step, values)
          unsaved = True

      # 4. Save. A save at a stop is not a target of rollbacks, since a run
      # that is not stopped does not have it.
      stopping = bool(stop)
      done = step == steps or ended or is_exhausted(decisions, patience)
      due = is_best or done or intervals.saves(step)
      if unsaved and (due or stopping):
        if due:
          decisions = record_save(decisions, step)
        with phases("checkpoint"):
          checkpoints.save(
            step,
            initializer.checkpoint(state, decisions),
            keep={int(decisions.best_step), int(decisions.saved_step)},
            before=metric_log.mark(step),
          )
        unsaved = False

      # 5. Leave.
      if stopping:
        checkpoints.wait()
        raise Stopped(stop.number, step, state)
      if done:
        break

      # 6. Make the steps up to the next pause.
      pause = intervals.next_pause(step)
      while step < pause and not (stop or monitor.halted):
        if profiler.is_due(step):
          with phases("step"):
            monitor.flush()
            jax.block_until_ready(state)
          profiler.update(step)
        with phases("feed"):
          dispatch = next(dispatches)
        if statistics.is_due(step, dispatch.count):
          with phases("step"):
            monitor.flush()
          with phases("statistics"):
            values = statistics.measure(state, feed, dispatch)
          # The line belongs to the update: continuing from here repeats it.
          metric_log.write(step + 1, SPLIT, values)
        with phases("step"):
          program = programs[dispatch.count, dispatch.length]
          state, entry = program(state, feed.arrays, dispatch.batch)
          monitor.add(step, dispatch.count, entry)
        step += dispatch.count
        phases.steps += dispatch.count
        unsaved = True

    # The last state is the best one unless an earlier step was better.
    best, best_step = state, int(decisions.best_step)
    if 0 <= best_step < step:
      with phases("checkpoint"):
        checkpoints.wait()
        saved = checkpoints.load(best_step, initializer.template)
        if saved is None:
          logger.warning(
            "the checkpoint of step %d, the best, is damaged or missing: "
            "returning the last state as the best",
            best_step,
          )
        best = initializer.restore(saved, state)[0] if saved else state
  books.finish(phases, task, state, best)
  return Result(state, best)

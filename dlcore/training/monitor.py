"""Reads the logs of the steps, a few steps late, and writes their lines."""

import logging
import time
from collections import deque
from collections.abc import Mapping

import jax
import numpy as np

from dlcore.metrics import compute
from dlcore.storage import MetricLog
from dlcore.task import Task
from dlcore.training.decisions import Decisions
from dlcore.training.memory import NullLog
from dlcore.training.phases import Phases
from dlcore.training.progress import Progress, RunningLoss

logger = logging.getLogger("dlcore")

MAX_IN_FLIGHT = 64
"""The most dispatches that are in flight before the loop waits for one."""

IN_FLIGHT_SECONDS = 0.25
"""The same in time: a run that is asked to stop first finishes these."""

RATE_SECONDS = 1.0
"""The time over which examples per second are counted."""


class Monitor:
  """Reads the logs of steps late, so that the device never waits for it."""

  def __init__(
    self,
    metric_log: MetricLog | NullLog,
    progress: Progress,
    task: Task,
    *,
    log_every: int,
    batch_size: int,
    overlap: bool,
    skipped: int = 0,
    phases: Phases,
  ):
    """Stores the log and its settings.

    Args:
      metric_log: the log of the run.
      progress: the progress display.
      task: the learning problem, for `Task.derived`.
      log_every: steps between lines.
      batch_size: for examples per second.
      overlap: whether a step may be dispatched before the last one is done.
      skipped: number of updates that were skipped and reported before.
      phases: the wall time by phase.
    """
    self.halted = False
    self._metric_log = metric_log
    self._progress = progress
    self._losses = RunningLoss()
    self._derived = task.derived
    self._log_every = log_every
    self._batch_size = batch_size
    self._overlap = overlap
    self._max_in_flight = 1 if overlap else 0
    self._phases = phases
    self._pending: deque[tuple[int, int, Mapping]] = deque()
    # The latest dispatch that is done, if its log was not fetched.
    self._unfetched: tuple[int, int, Mapping] | None = None
    self._unread = 0
    self._skipped = skipped
    self._read_at = time.monotonic()
    self._shown_at = 0.0
    self._marks: deque[tuple[int, float]] = deque()
    self._rate = 0.0

  def add(self, step: int, count: int, entry: Mapping) -> None:
    """Adds the log of `count` steps after `step`, and reads an earlier one."""
    if not self._marks:
      self._marks.append((step, self._phases.training()))
    self._pending.append((step, count, entry))
    while len(self._pending) > self._max_in_flight:
      self._read(*self._pending.popleft())

  def write_evaluation(
    self, step: int, results: Mapping[str, Mapping[str, float]]
  ) -> None:
    """Writes the metrics of each split, and shows those of the first."""
    self._progress.evaluations += 1
    for split, values in results.items():
      self._metric_log.write(step, split, values)
    for split, values in list(results.items())[:1]:
      self._progress.show_validation(split, values)

  def show_best(self, best_by: str, decisions: Decisions) -> None:
    """Shows the best validation so far, if there is any."""
    step, value = int(decisions.best_step), float(decisions.best_value)
    if step >= 0:
      sign = -1 if best_by.startswith("-") else 1
      self._progress.show_best(best_by.removeprefix("-"), sign * value, step)

  def flush(self) -> None:
    """Waits for all steps that were added, and writes their lines."""
    if not self._pending and self._unfetched is not None:
      self._pending.append(self._unfetched)
    while self._pending:
      self._read(*self._pending.popleft(), now=not self._pending)

  def reset(self) -> None:
    """Drops the logs of all pending steps, for a rollback."""
    self.halted = False
    self._losses.reset()
    self._pending.clear()
    self._unfetched = None
    self._marks.clear()

  def close(self) -> None:
    """Closes the progress display."""
    self._progress.close()

  def _read(
    self, first: int, count: int, entry: Mapping, *, now: bool = False
  ) -> None:
    """Reads the log of one dispatch and writes the lines that are due."""
    self._unfetched = (first, count, entry)
    last = first + count
    self._losses.add(last, entry["loss"])
    due = now or last // self._log_every > first // self._log_every
    self._unread += 1
    if not due and self._unread < self._max_in_flight:
      return
    jax.block_until_ready(entry)  # All of it: see `StateInitializer.init`.
    self._adapt()
    if not due and self._read_at - self._shown_at < 0.2:
      return
    self._shown_at, self._unfetched = self._read_at, None
    values = jax.device_get(dict(entry))
    if count == 1:  # A log of several steps has a leading axis of steps.
      values = jax.tree.map(lambda leaf: np.asarray(leaf)[None], values)
    self.halted |= bool(values.pop("halted")[-1])
    skipped = int(values.pop("skipped")[-1])
    if not self.halted:  # The rollback reports the others.
      self._warn(last, skipped)
    self._skipped = skipped
    self._measure_rate(last)
    self._progress.update(last, self._losses.mean(), self._rate)
    if not self.halted:
      self._write(first, count, values)

  def _write(self, first: int, count: int, entry: dict) -> None:
    metrics, losses = entry.pop("metrics"), entry.pop("loss")
    for i in range(count):
      step = first + i + 1
      if step % self._log_every:
        continue
      sums = jax.tree.map(lambda leaf, i=i: leaf[i], metrics)
      values = {"loss": losses[i], **compute(sums, self._derived)}
      values |= {name: leaf[i] for name, leaf in entry.items()}
      values["examples_per_second"] = self._rate
      values["seconds"] = self._phases.total()
      self._metric_log.write(step, "train", values)

  def _warn(self, step: int, skipped: int) -> None:
    """Warns about skipped updates."""
    if skipped > self._skipped:
      logger.warning(
        "skipped updates whose loss or gradient was not finite, or spiked: %d "
        "up to step %d",
        skipped,
        step,
      )

  def _adapt(self) -> None:
    """Sets how many dispatches may be in flight, from the current pace."""
    now = time.monotonic()
    pace = max(now - self._read_at, 1e-9) / self._unread
    if self._overlap:
      most = int(IN_FLIGHT_SECONDS / pace)
      self._max_in_flight = min(max(most, 1), MAX_IN_FLIGHT)
    self._unread, self._read_at = 0, now

  def _measure_rate(self, step: int) -> None:
    """Updates examples per second at `step`, which is done."""
    now = self._phases.training()
    self._marks.append((step, now))
    while len(self._marks) > 2 and self._marks[1][1] <= now - RATE_SECONDS:
      self._marks.popleft()
    first, started = self._marks[0]
    if step > first and now > started:
      self._rate = (step - first) * self._batch_size / (now - started)

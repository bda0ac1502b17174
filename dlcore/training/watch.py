"""Follows the steps of a run, and tells what they said."""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import numpy as np

from dlcore.metrics import compute
from dlcore.training.logging import RunLog
from dlcore.training.phases import Phases
from dlcore.training.progress import Progress
from dlcore.typing import Metrics

warn = logging.getLogger("dlcore")

AHEAD = 64
"""The most calls that are on their way before the loop waits for one."""

AHEAD_SECONDS = 0.25
"""The same in time: a run that is asked to stop first finishes these."""

RATE_SECONDS = 1.0
"""Over how long examples per second are counted; a look comes early or late."""

STEPPING = ("step", "feed")
"""The phases whose time makes up the examples per second."""


class Watch:
  """Follows the steps, a few late, so that the device never waits."""

  def __init__(
    self,
    workdir: Path | None,
    step: int,
    steps: int,
    derived: Callable[[Metrics], Mapping[str, float]],
    *,
    log_every: int,
    batch_size: int,
    overlap: bool,
    progress: bool,
    phases: Phases,
  ):
    """Follows a run from `step` to `steps`; None for `workdir` writes nothing.

    Args:
      workdir: the run's folder.
      step: the steps made before.
      steps: the last one.
      derived: the task's, for the metrics.
      log_every: steps between lines.
      batch_size: to tell examples per second.
      overlap: whether a step may be dispatched before the last is done.
      progress: whether to show progress.
      phases: where the time goes.
    """
    self.halted = False
    self._log = RunLog(workdir, step) if workdir is not None else None
    self._progress = Progress(steps, step, shown=progress)
    self._derived = derived
    self._log_every = log_every
    self._batch_size = batch_size
    self._overlap = overlap
    self._ahead = 1 if overlap else 0
    self._unseen = 0
    self._skipped = 0
    self._waited = time.monotonic()
    self._phases = phases
    self._pending: deque[tuple[int, int, Mapping]] = deque()
    self._looks: deque[tuple[int, float]] = deque()
    self._rate_now = 0.0
    self._shown = 0.0

  def add(self, step: int, count: int, log: Mapping) -> None:
    """Takes the log of `count` steps after `step`, looks at an earlier one."""
    if not self._looks:
      self._looks.append((step, self._busy()))
    self._pending.append((step, count, log))
    while len(self._pending) > self._ahead:
      self._look(*self._pending.popleft())

  def flush(self) -> None:
    """Waits for all steps that were added, and writes their lines."""
    while self._pending:
      self._look(*self._pending.popleft(), now=not self._pending)

  def _look(
    self, first: int, count: int, log: Mapping, *, now: bool = False
  ) -> None:
    """Writes the lines of a call; without any, often does nothing yet."""
    last = first + count
    due = now or last // self._log_every > first // self._log_every
    self._unseen += 1
    if not due and self._unseen < self._ahead:
      return
    log["loss"].block_until_ready()
    self._measure()
    if not due and self._waited - self._shown < 0.2:
      return
    self._shown = self._waited
    log = jax.tree.map(np.atleast_1d, jax.device_get(log))
    self.halted |= bool(log["halted"][-1])
    if not self.halted:  # The loop tells of that.
      self._tell(last, int(log["skipped"][-1]))
    self._progress.update(last, float(log["loss"][-1]), self._rate(last))
    if self.halted:
      return
    for step in range(first + 1, last + 1):
      if step % self._log_every:
        continue
      row = jax.tree.map(lambda leaf, at=step - first - 1: leaf[at], log)
      values = compute(row["metrics"], self._derived) | row["shown"]
      values["examples_per_second"] = self._rate_now
      self.write(step, "train", values | {"seconds": self._phases.total()})

  def _tell(self, step: int, skipped: int) -> None:
    """Warns of updates that were not applied."""
    if skipped > self._skipped:
      warn.warning(
        "up to step %d, %d updates were not applied: their loss or gradient "
        "was not finite, or spiked",
        step,
        skipped,
      )
    self._skipped = skipped

  def _measure(self) -> None:
    """Sets how many calls may be on their way, from the pace of the last."""
    now = time.monotonic()
    pace = (now - self._waited) / self._unseen
    if self._overlap:
      self._ahead = min(max(int(AHEAD_SECONDS / pace), 1), AHEAD)
    self._unseen, self._waited = 0, now

  def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
    """Writes one line of metrics."""
    if self._log is not None:
      self._log.write(step, split, values)

  def rewind(self, step: int) -> None:
    """Forgets what came after `step`, from where the run tries again."""
    self.halted = False
    self._pending.clear()
    self._looks.clear()
    if self._log is not None:
      self._log.rewind(step)

  def mark(self, step: int) -> Callable[[], None]:
    """Returns what puts all lines so far on disk, for a save of `step`."""
    return self._log.mark(step) if self._log is not None else lambda: None

  def close(self) -> None:
    """Closes the log and the progress bar."""
    self._progress.close()
    if self._log is not None:
      self._log.close()

  def _rate(self, step: int) -> float:
    """Returns examples per second, up to `step` that has just been seen."""
    now = self._busy()
    self._looks.append((step, now))
    while len(self._looks) > 2 and self._looks[1][1] <= now - RATE_SECONDS:
      self._looks.popleft()
    before, then = self._looks[0]
    if step > before and now > then:
      self._rate_now = (step - before) * self._batch_size / (now - then)
    return self._rate_now

  def _busy(self) -> float:
    """Returns the seconds so far without evaluations, saves and the like."""
    spent = self._phases.seconds
    others = sum(spent[name] for name in spent if name not in STEPPING)
    return self._phases.total() - others

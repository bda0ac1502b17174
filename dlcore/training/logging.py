"""What a run says while it goes: lines of JSON, TensorBoard, a progress bar."""

import hashlib
import json
import logging
import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import numpy as np

from dlcore.metrics import compute
from dlcore.training import integrity
from dlcore.training.phases import Phases
from dlcore.typing import Metrics

warn = logging.getLogger("dlcore")

AHEAD = 64
"""The most calls that are on their way before the loop waits for one."""

AHEAD_SECONDS = 0.25
"""The same in time: a run that is asked to stop first finishes these."""

RATE_SECONDS = 1.0
"""Over how long examples per second are counted; a look comes early or late."""

FLUSH_SECONDS = 5.0
"""After how long TensorBoard may see new lines."""


class RunLog:
  """Writes `metrics.jsonl` and TensorBoard's events of one run."""

  def __init__(self, workdir: Path, step: int):
    """Opens the log; whatever is later than `step` is cut off."""
    self._workdir = workdir
    self._step = step
    self._board = None
    self._flushed = 0.0
    if not integrity.log_intact(workdir, step):
      warn.warning(
        "%s is not as it was when step %d was saved: lines before that are "
        "changed or missing",
        workdir / integrity.LOG,
        step,
      )
    path = workdir / integrity.LOG
    content = cut(path, step)
    integrity.cut_log(workdir, step)
    self._sum = hashlib.sha256(content)
    self._size = len(content)
    self._file = path.open("ab")

  def rewind(self, step: int) -> None:
    """Takes back whatever is later than `step`."""
    self.close()
    self.__init__(self._workdir, step)

  def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
    """Adds one line; numbers keep the digits that float32 has.

    Those that are not finite are left out: JSON has none.
    """
    rounded = {
      name: float(f"{value:.7g}")
      for name, value in values.items()
      if math.isfinite(value)
    }
    line = json.dumps({"step": step, "split": split, **rounded}) + "\n"
    content = line.encode()
    self._file.write(content)
    self._file.flush()
    self._sum.update(content)
    self._size += len(content)
    self._show(step, split, rounded)

  def mark(self, step: int) -> Callable[[], None]:
    """Returns what a save of `step`, as a checkpoint, has to do before.

    It returns when the lines so far are on disk, with their sum.
    """
    size, digest = self._size, self._sum.hexdigest()
    file, workdir = self._file, self._workdir

    def sync() -> None:
      os.fsync(file.fileno())
      integrity.mark_log(workdir, step, size, digest)

    return sync

  def close(self) -> None:
    """Closes both."""
    self._file.close()
    if self._board is not None:
      self._board.close()

  def _show(self, step: int, split: str, values: Mapping[str, float]) -> None:
    from tensorboardX.proto.event_pb2 import Event  # Late: it costs 0.3 s.
    from tensorboardX.proto.summary_pb2 import Summary

    scalars = [
      Summary.Value(tag=f"{split}/{name}", simple_value=value)
      for name, value in values.items()
    ]
    summary = Summary(value=scalars)
    now = time.time()
    board = self._tensorboard()
    board.write_event(Event(wall_time=now, step=step, summary=summary))
    if now - self._flushed > FLUSH_SECONDS:
      board.flush()
      self._flushed = now

  def _tensorboard(self):
    # Not SummaryWriter, whose queue costs 1 ms a line.
    if self._board is None:
      from tensorboardX.event_file_writer import EventsWriter
      from tensorboardX.proto.event_pb2 import Event, SessionLog

      folder = self._workdir / "tensorboard"
      if folder.is_symlink():  # What is written there would end elsewhere.
        folder.unlink()
      folder.mkdir(exist_ok=True)
      self._board = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
      start = SessionLog(status=SessionLog.START)
      self._board.write_event(
        Event(wall_time=time.time(), step=self._step + 1, session_log=start)
      )
    return self._board


def cut(path: Path, step: int) -> bytes:
  """Removes the lines that are later than `step`, or broken; returns the rest.

  A link is replaced by a file of what was there.
  """
  lines = path.read_bytes().splitlines() if path.is_file() else []
  kept = [line + b"\n" for line in lines if _until(line, step)]
  content = b"".join(kept)
  temporary = path.with_suffix(".tmp")
  temporary.unlink(missing_ok=True)  # It might be a link to elsewhere.
  with temporary.open("xb") as file:
    file.write(content)
  temporary.replace(path)
  return content


def _until(line: bytes, step: int) -> bool:
  try:
    return json.loads(line)["step"] <= step
  except (ValueError, KeyError, TypeError):
    return False


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


class Progress:
  """Shows step, loss, examples per second and the time left."""

  def __init__(self, steps: int, start: int, *, shown: bool):
    """Starts at step `start` of `steps`; silent unless `shown`."""
    self._steps = steps
    self._start = start
    self._begun: float | None = None
    self._printed = time.monotonic()
    self._bar = None
    if shown and sys.stderr.isatty():
      self._bar, self._task = _bar(steps, start)
    self._shown = shown

  def update(self, step: int, loss: float, rate: float) -> None:
    """Shows that `step` is done, at `rate` examples per second."""
    if not self._shown:
      return
    if self._bar is not None:
      self._bar.update(self._task, completed=step, loss=loss, rate=rate)
      return
    now = time.monotonic()
    if self._begun is None:
      self._begun, self._first = now, step
    if now - self._printed < 10 and step < self._steps:
      return
    self._printed = now
    pace = (now - self._begun) / max(step - self._first, 1)
    left = pace * (self._steps - step)
    print(
      f"step {step}/{self._steps}  loss {loss:.4f}  "
      f"{rate:,.0f} examples/s  {left:.0f} s left",
      file=sys.stderr,
      flush=True,
    )

  def close(self) -> None:
    """Leaves the bar as it stands."""
    if self._bar is not None:
      self._bar.stop()


def _bar(steps: int, start: int):
  from rich import progress
  from rich.console import Console

  bar = progress.Progress(
    progress.TextColumn("step {task.completed}/{task.total}"),
    progress.BarColumn(),
    progress.TextColumn("loss {task.fields[loss]:.4f}"),
    progress.TextColumn("{task.fields[rate]:,.0f} examples/s"),
    progress.TimeRemainingColumn(),
    console=Console(stderr=True),
  )
  bar.start()
  task = bar.add_task("", total=steps, completed=start, loss=0.0, rate=0.0)
  return bar, task

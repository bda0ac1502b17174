"""The progress of a run: a bar in a terminal, lines elsewhere."""

import sys
import time


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

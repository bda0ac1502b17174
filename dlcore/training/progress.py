"""The progress of a run on standard error: a bar in a terminal, else lines."""

import sys
import time
from collections.abc import Mapping

LINE_SECONDS = 10
"""Seconds between two lines, where there is no terminal."""


class Progress:
  """Shows step, loss, the latest validation, speed and the time left."""

  def __init__(self, steps: int, first_step: int, *, enabled: bool):
    """Starts at `first_step` of `steps`; silent unless `enabled`."""
    self._steps = steps
    stream = sys.stderr if enabled else None  # None also if it is closed.
    self._enabled = stream is not None
    self._first: tuple[float, int] | None = None
    self._printed = time.monotonic()
    self._validation = ""
    self._bar = None
    if stream is not None and stream.isatty():
      self._bar, self._task = _create_bar(steps, first_step)

  def update(self, step: int, loss: float, rate: float) -> None:
    """Shows that `step` is done, at `rate` examples per second."""
    if not self._enabled:
      return
    if self._bar is not None:
      self._bar.update(
        self._task,
        completed=step,
        loss=loss,
        rate=rate,
        validation=self._validation,
      )
      return
    now = time.monotonic()
    if self._first is None:
      self._first = (now, step)
    if now - self._printed < LINE_SECONDS and step < self._steps:
      return
    self._printed = now
    started, first_step = self._first
    pace = (now - started) / max(step - first_step, 1)
    print(
      f"step {step}/{self._steps}  loss {loss:.4f}  {self._validation}"
      f"{rate:,.0f} examples/s  {pace * (self._steps - step):.0f} s left",
      file=sys.stderr,
      flush=True,
    )

  def show_validation(self, split: str, values: Mapping[str, float]) -> None:
    """Takes the metrics of an evaluation, to show them from now on."""
    metrics = (f"{name} {value:.4f}  " for name, value in values.items())
    self._validation = f"{split}: {''.join(metrics)}"

  def close(self) -> None:
    """Leaves the bar at its last position."""
    if self._bar is not None:
      self._bar.stop()


def _create_bar(steps: int, first_step: int):
  from rich import progress
  from rich.console import Console

  bar = progress.Progress(
    progress.TextColumn("step {task.completed}/{task.total}"),
    progress.BarColumn(),
    progress.TextColumn("loss {task.fields[loss]:.4f}"),
    progress.TextColumn("{task.fields[validation]}"),
    progress.TextColumn("{task.fields[rate]:,.0f} examples/s"),
    progress.TimeRemainingColumn(),
    console=Console(stderr=True),
  )
  bar.start()
  fields = {"loss": 0.0, "rate": 0.0, "validation": ""}
  task = bar.add_task("", total=steps, completed=first_step, **fields)
  return bar, task

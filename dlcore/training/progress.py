"""The progress of a run on standard error: a bar in a terminal, else lines."""

import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dlcore.training.intervals import Intervals
from dlcore.training.phases import Phases
from dlcore.typing import Array

LINE_SECONDS = 10
"""Seconds between two lines, where there is no terminal."""

BAR_WIDTH = 20

LOSS_STEPS = 50
"""Number of steps in the mean of the loss."""

PAUSES = ("evaluation", "checkpoint", "statistics")
"""The phases in which a run makes no steps."""


class RunningLoss:
  """The mean of the losses of the latest `LOSS_STEPS` steps."""

  def __init__(self):
    """Starts without any loss."""
    self._losses: deque[Any] = deque()
    self._size = self._step = 0

  def add(self, step: int, losses: Array | float) -> None:
    """Adds the losses, [] or `[count]`, of the steps up to `step`, once each.

    They stay on the device until `mean` fetches them.
    """
    if step <= self._step:
      return
    self._step = step
    self._losses.append(losses)
    self._size += np.size(losses)
    while self._size - np.size(self._losses[0]) >= LOSS_STEPS:
      self._size -= np.size(self._losses.popleft())

  def mean(self) -> float:
    """Returns the mean of the finite losses, or NaN without one."""
    losses = map(np.atleast_1d, jax.device_get(list(self._losses)))
    latest = np.concatenate([*losses, np.empty(0)])[-LOSS_STEPS:]
    self._losses, self._size = deque([latest]), len(latest)
    finite = latest[np.isfinite(latest)]
    return float(finite.mean()) if len(finite) else float("nan")

  def reset(self) -> None:
    """Drops all losses, for a rollback."""
    self.__init__()


class Progress:
  """Shows step, mean loss, last and best validation, speed and time left."""

  def __init__(
    self,
    steps: int,
    first_step: int,
    *,
    enabled: bool,
    intervals: Intervals | None = None,
    phases: Phases | None = None,
  ):
    """Starts at `first_step` of `steps`; silent unless `enabled`.

    Args:
      steps: the last step.
      first_step: the number of steps that were made before.
      enabled: whether to show anything.
      intervals: of the run, whose evaluations the time left includes.
      phases: the wall time so far, with that of evaluations and saves.
    """
    self.evaluations = 0
    """The number of evaluations since `first_step`."""
    self._steps, self._first_step = steps, first_step
    self._intervals, self._phases = intervals, phases
    self._stream = sys.stderr if enabled else None  # None if it is closed.
    self._started = self._printed_at = time.monotonic()
    self._paused_before = self._paused()
    self._step, self._loss, self._rate = first_step, float("nan"), 0.0
    self._split = self._best_name = self._best = self._printed = ""
    self._values: dict[str, float] = {}
    self._bar = None
    if self._stream is not None and self._stream.isatty():
      self._bar, self._task = _create_bar(steps, first_step)

  def update(self, step: int, loss: float, rate: float) -> None:
    """Shows that `step` is done, with the mean `loss`.

    Args:
      step: the number of steps so far.
      loss: the mean of a `RunningLoss`.
      rate: examples per second, 0 if it is unknown.
    """
    self._step, self._loss, self._rate = step, loss, rate
    if self._bar is not None:
      self._draw(self._bar)
    elif time.monotonic() - self._printed_at >= LINE_SECONDS:
      self._print()

  def seconds_left(self, step: int, now: float) -> float:
    """Returns the estimated seconds from `now`, after `step`, to the end.

    The time of a step, and that of an evaluation with the saves up to it, are
    the means so far. The time of the first evaluation is unknown before it.
    """
    made = max(step - self._first_step, 1)
    left = self._steps - step
    if self._intervals is None or not self.evaluations:
      return (now - self._started) / made * left
    paused = self._paused() - self._paused_before
    pace = max(now - self._started - paused, 0) / made
    coming = self._intervals.evaluations_after(self._first_step)
    coming = max(coming - self.evaluations, 0)
    return pace * left + paused / self.evaluations * coming

  def show_validation(self, split: str, values: Mapping[str, float]) -> None:
    """Takes the metrics of an evaluation, to show them from now on."""
    self._split, self._values = split, dict(values)

  def show_best(self, name: str, value: float, step: int) -> None:
    """Takes the best value of a metric, at `step`, to show it from now on."""
    self._best_name = name
    self._best = f"best {name} {value:.4f} at {step}"

  def close(self) -> None:
    """Shows the last step with the last evaluation, and leaves the bar."""
    if self._bar is not None:
      self._draw(self._bar)
      self._bar.stop()
    elif self._step > self._first_step:
      self._print()

  def _print(self) -> None:
    """Prints a line, unless it is the same as the last one."""
    self._printed_at = time.monotonic()
    step, left, rest = self._texts(list(self._values))
    line = "  ".join((step, *rest, left))
    if self._stream is not None and line != self._printed:
      print(line, file=self._stream, flush=True)
    self._printed = line

  def _draw(self, bar) -> None:
    """Updates the bar in the terminal, which is cut to its width.

    Of the last validation it shows the metric that decides the best.
    """
    names = [self._best_name] if self._best else list(self._values)
    step, left, rest = self._texts(names)
    text = "  ".join((step, left, *rest))
    room = max(bar.console.width - BAR_WIDTH - 2, 0)
    bar.update(self._task, completed=self._step, text=text[:room])

  def _texts(self, names: Sequence[str]) -> tuple[str, str, list[str]]:
    """Returns the step, the time left, and everything else.

    Args:
      names: of the metrics of the last validation to show.
    """
    values = [f"{n} {self._values[n]:.4f}" for n in names if n in self._values]
    count = min(LOSS_STEPS, max(self._step - self._first_step, 1))
    left = self.seconds_left(self._step, time.monotonic())
    rest = (
      f"loss {self._loss:.4f} (mean of {count})",
      f"{self._split}: {'  '.join(values)}" if values else "",
      self._best,
      f"{self._rate:,.0f} examples/s" if self._rate else "",
    )
    return (
      f"step {self._step}/{self._steps}",
      f"{format_left(left)} left",
      list(filter(None, rest)),
    )

  def _paused(self) -> float:
    if self._phases is None:
      return 0.0
    return sum(self._phases.seconds[name] for name in PAUSES)


def format_left(seconds: float) -> str:
  """Returns a duration in its leading unit: `95 s`, `95 min`, `2 h 5 min`."""
  if seconds < 100:
    return f"{seconds:.0f} s"
  minutes = round(seconds / 60)
  if minutes < 100:
    return f"{minutes} min"
  return f"{minutes // 60:,} h {minutes % 60} min"


def _create_bar(steps: int, first_step: int):
  from rich import progress
  from rich.console import Console

  bar = progress.Progress(
    progress.BarColumn(BAR_WIDTH),
    progress.TextColumn("{task.fields[text]}", markup=False),
    console=Console(stderr=True),
  )
  bar.start()
  task = bar.add_task("", total=steps, completed=first_step, text="")
  return bar, task

"""A `jax.profiler` trace of some steps."""

from pathlib import Path

import jax

FOLDER = "profile"


class Profiler:
  """Traces the steps from `first` to `last` into a folder."""

  def __init__(self, steps: tuple[int, int] | None, folder: Path | None):
    """Takes `(first, last)`, None for no trace, and the folder of the run."""
    self._first, self._last = steps or (-1, -1)
    self._folder = (folder or Path()) / FOLDER
    self._running = False

  def __enter__(self) -> "Profiler":
    return self

  def __exit__(self, *exception) -> None:
    self.close()

  def is_due(self, step: int) -> bool:
    """Returns whether `update` starts or stops the trace at `step`."""
    if self._running:
      return step >= self._last
    return self._first <= step < self._last

  def update(self, step: int) -> None:
    """Starts or stops the trace before the dispatch that follows `step`."""
    if not self._running and self._first <= step < self._last:
      jax.profiler.start_trace(str(self._folder))
      self._running = True
    elif self._running and step >= self._last:
      self.close()

  def close(self) -> None:
    """Stops the trace."""
    if self._running:
      jax.profiler.stop_trace()
    self._running, self._first = False, self._last

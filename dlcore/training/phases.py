"""The wall time of a run by phase.

`start` is imports and set-up, `data` loading the data, `feed` waiting for
batches, `statistics` measuring the norms of every layer.
"""

import time

NAMES = (
  "start",
  "compile",
  "data",
  "feed",
  "step",
  "statistics",
  "evaluation",
  "checkpoint",
  "report",
)


class Phases:
  """Adds up seconds by phase, and counts the steps."""

  def __init__(self, start: float | None = None):
    """Starts at `start` (`time.monotonic()`), by default now."""
    self.start = time.monotonic() if start is None else start
    self.steps = 0
    self.seconds: dict[str, float] = dict.fromkeys(NAMES, 0.0)
    self._timers = {name: _Timer(self.seconds, name) for name in NAMES}

  def __call__(self, name: str) -> "_Timer":
    """Counts the time inside a `with` block as `name`; phases do not nest."""
    return self._timers[name]

  def total(self) -> float:
    """Returns the seconds since the start."""
    return time.monotonic() - self.start

  def training(self) -> float:
    """Returns the seconds since the start outside of all other phases."""
    others = (n for n in self.seconds if n not in ("step", "feed"))
    return self.total() - sum(self.seconds[name] for name in others)


class _Timer:
  """Reused in every step: creating a context manager costs more."""

  def __init__(self, seconds: dict[str, float], name: str):
    self._seconds = seconds
    self._name = name

  def __enter__(self) -> None:
    self._entered = time.perf_counter()

  def __exit__(self, *exception) -> None:
    self._seconds[self._name] += time.perf_counter() - self._entered

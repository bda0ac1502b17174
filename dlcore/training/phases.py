"""Where the wall time of a run goes.

`start` is imports and set-up, `data` loading it, `feed` waiting for batches,
`watch` looking at the norms of every layer.
"""

import time

NAMES = (
  "start",
  "compile",
  "data",
  "feed",
  "step",
  "watch",
  "evaluation",
  "checkpoint",
  "report",
)


class Phases:
  """Adds up seconds by phase, and counts the steps made."""

  def __init__(self, begun: float | None = None):
    """Starts at `begun` (`time.monotonic()`), by default now."""
    self.begun = time.monotonic() if begun is None else begun
    self.steps = 0
    self.seconds = dict.fromkeys(NAMES, 0.0)
    self._timers = {name: _Timer(self.seconds, name) for name in NAMES}

  def __call__(self, name: str) -> "_Timer":
    """Counts the time inside a `with` block as `name`; phases do not nest."""
    return self._timers[name]

  def total(self) -> float:
    """Returns the seconds since the start."""
    return time.monotonic() - self.begun


class _Timer:
  """Is entered twice in every step, and so made only once."""

  def __init__(self, seconds: dict[str, float], name: str):
    self._seconds = seconds
    self._name = name

  def __enter__(self) -> None:
    self._start = time.perf_counter()

  def __exit__(self, *failure) -> None:
    self._seconds[self._name] += time.perf_counter() - self._start

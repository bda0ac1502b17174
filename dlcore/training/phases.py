"""Where the wall time of a run goes.

`start` is imports and set-up, `data` loading it, `feed` waiting for batches.
"""

import contextlib
import time
from collections.abc import Iterator

NAMES = (
  "start",
  "compile",
  "data",
  "feed",
  "step",
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

  @contextlib.contextmanager
  def __call__(self, name: str) -> Iterator[None]:
    """Counts the time inside the block as `name`."""
    start = time.perf_counter()
    try:
      yield
    finally:
      self.seconds[name] += time.perf_counter() - start

  def total(self) -> float:
    """Returns the seconds since the start."""
    return time.monotonic() - self.begun

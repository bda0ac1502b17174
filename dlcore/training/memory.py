"""The checkpoints and the log of a run that keeps nothing on disk."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import numpy as np


class MemoryCheckpoints:
  """Keeps the latest and the best state in host memory.

  It has the methods of `storage.Checkpoints`.
  """

  latest: int | None = None
  """Every run starts from the beginning."""

  def __init__(self):
    self._trees: dict[int, Any] = {}

  def __enter__(self) -> "MemoryCheckpoints":
    return self

  def __exit__(self, *exception) -> None:
    pass

  def save(
    self,
    step: int,
    tree: Any,
    keep: Collection[int] = (),
    before: Callable[[], None] = lambda: None,
  ) -> None:
    """Copies `tree` to the host, and drops all steps but this and `keep`."""
    before()
    kept = {s: tree for s, tree in self._trees.items() if s in keep}
    # A copy: the buffers are donated to the next step.
    self._trees = {**kept, step: jax.tree.map(np.array, tree)}

  def restore(self, template: Any) -> None:
    """Returns None: every run starts from the beginning."""
    del template

  def load(self, step: int, template: Any) -> Any:
    """Returns the tree of a step, None if it was not kept."""
    del template
    return self._trees.get(step)

  def roll_back(self, step: int, template: Any) -> Any:
    """Drops all steps after `step` and returns its tree."""
    self._trees = {s: t for s, t in self._trees.items() if s <= step}
    return self.load(step, template)

  def wait(self) -> None:
    """Returns at once: nothing is written in the background."""


class NullLog:
  """Drops all lines; it has the methods of `storage.MetricLog`."""

  def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
    """Drops a line."""

  def mark(self, step: int) -> Callable[[], None]:
    """Returns a function that does nothing."""
    del step
    return lambda: None

  def rewind(self, step: int) -> None:
    """Does nothing."""

  def close(self) -> None:
    """Does nothing."""

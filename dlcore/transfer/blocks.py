"""Blocks that are scanned have their arrays stacked; published ones never.

`params/blocks/norm/scale` `[L, D]` holds `params/block_0/norm/scale` `[D]` and
those of the L - 1 blocks after it.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

STACKED = re.compile(r"(?<![^/_])blocks/")
ALIGNED = 64
"""Bytes: JAX takes such an array as its own on a CPU, without a copy."""


class Part(NamedTuple):
  """A leaf of the variables, or one block's part of it."""

  leaf: str
  """The path of the leaf."""

  index: tuple[Any, ...]
  """Where in the leaf: `(number, ...)`, or `(...,)` for all of it."""

  shape: tuple[int, ...]


def parts(leaves: Mapping[str, Any]) -> dict[str, Part]:
  """Returns the parts by the paths that they have where nothing is scanned.

  Args:
    leaves: the variables by path: arrays, or their shapes.
  """
  found = {}
  for path, leaf in leaves.items():
    if STACKED.search(path) is None:
      found[path] = Part(path, (...,), tuple(leaf.shape))
      continue
    for i in range(leaf.shape[0]):
      name = STACKED.sub(f"block_{i}/", path, count=1)
      found[name] = Part(path, (i, ...), tuple(leaf.shape[1:]))
  return found


def unstacked(leaves: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Returns arrays on the host by the paths of `parts`."""
  whole = {path: np.asarray(leaf) for path, leaf in leaves.items()}
  return {
    name: whole[part.leaf][part.index] for name, part in parts(leaves).items()
  }


class Filling:
  """New leaves in the place of old ones, filled part by part.

  Each goes to its device as soon as it is whole, so that there is never more
  than one that is twice in memory.
  """

  def __init__(self, leaves: Mapping[str, Any]):
    """Takes the old leaves, by path: arrays, or their shapes."""
    self.leaves = dict(leaves)
    self._old = leaves
    self._open: dict[str, np.ndarray] = {}
    self._left = Counter(part.leaf for part in parts(leaves).values())

  def fill(self, part: Part, array: np.ndarray) -> np.ndarray:
    """Puts numbers in, and returns the place where they are."""
    if part.leaf not in self._open:
      self._open[part.leaf] = self._begun(part)
    place = self._open[part.leaf][part.index]
    with np.errstate(all="ignore"):  # What becomes infinite is refused later.
      place[...] = array
    return place

  def done(self, part: Part) -> None:
    """Counts a part that is filled, or stays as it was."""
    self._left[part.leaf] -= 1
    if not self._left[part.leaf] and part.leaf in self._open:
      old = self._old[part.leaf]
      where = old.sharding if isinstance(old, jax.Array) else None
      new = self._open.pop(part.leaf)
      self.leaves[part.leaf] = jax.device_put(new, where)

  def _begun(self, part: Part) -> np.ndarray:
    old = self._old[part.leaf]
    new = _empty(old.shape, old.dtype)
    stacked = part.index != (...,)
    if stacked and not isinstance(old, jax.ShapeDtypeStruct):
      new[...] = old  # Some blocks may stay as they were.
    return new


def _empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
  dtype = np.dtype(dtype)
  size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
  room = np.empty(size + ALIGNED, np.uint8)
  start = -room.ctypes.data % ALIGNED
  return room[start : start + size].view(dtype).reshape(shape)

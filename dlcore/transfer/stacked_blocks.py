"""Arrays of scanned blocks, which are stacked here and separate elsewhere.

`params/blocks/norm/scale` `[L, D]` contains `params/block_{i}/norm/scale` `[D]`
of all L blocks. Published weights have one array per block.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

STACKED = re.compile(r"(?<![^/_])blocks/")
ALIGNMENT = 64
"""Bytes. On CPU, JAX uses an array of this alignment without copying it."""


class LeafSlice(NamedTuple):
  """A leaf of the variables, or the slice of it that belongs to one block."""

  leaf: str
  """Path of the leaf."""

  index: tuple[Any, ...]
  """Index into the leaf: `(block, ...)`, or `(...,)` for the complete leaf."""

  shape: tuple[int, ...]


Initialize = Callable[[Mapping[str, LeafSlice]], Mapping[str, Any]]
"""`slices by path -> leaves by path`: initial values of the leaves that contain
the slices. Raises `UserError` if missing parameters are not allowed."""


def slices(leaves: Mapping[str, Any]) -> dict[str, LeafSlice]:
  """Returns the slices by the paths of a model without scanned blocks.

  Args:
    leaves: variables by path, arrays or `jax.ShapeDtypeStruct`.
  """
  by_path = {}
  for path, leaf in leaves.items():
    if STACKED.search(path) is None:
      by_path[path] = LeafSlice(path, (...,), tuple(leaf.shape))
      continue
    for i in range(leaf.shape[0]):
      name = STACKED.sub(f"block_{i}/", path, count=1)
      by_path[name] = LeafSlice(path, (i, ...), tuple(leaf.shape[1:]))
  return by_path


def unstack(leaves: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Returns arrays on the host by the paths of `slices`."""
  arrays = {path: np.asarray(leaf) for path, leaf in leaves.items()}
  return {
    path: arrays[part.leaf][part.index] for path, part in slices(leaves).items()
  }


class LeafBuilder:
  """Builds new leaves slice by slice.

  A leaf moves to its device as soon as all of its slices are closed, so at most
  one leaf at a time is held twice.
  """

  def __init__(self, leaves: Mapping[str, Any]):
    """Takes the old leaves by path, arrays or `jax.ShapeDtypeStruct`."""
    self.leaves = dict(leaves)
    self._old = leaves
    self._buffers: dict[str, np.ndarray] = {}
    self._open = Counter(part.leaf for part in slices(leaves).values())

  def fill(self, part: LeafSlice, array: np.ndarray) -> np.ndarray:
    """Copies an array into a slice of its leaf and returns the view of it."""
    if part.leaf not in self._buffers:
      self._buffers[part.leaf] = self._buffer(part)
    view = self._buffers[part.leaf][part.index]
    with np.errstate(all="ignore"):  # The caller rejects overflow to infinity.
      view[...] = array
    return view

  def close(self, part: LeafSlice) -> None:
    """Marks a slice as filled or unchanged; the last one moves the leaf."""
    self._open[part.leaf] -= 1
    if not self._open[part.leaf] and part.leaf in self._buffers:
      old = self._old[part.leaf]
      sharding = old.sharding if isinstance(old, jax.Array) else None
      buffer = self._buffers.pop(part.leaf)
      self.leaves[part.leaf] = jax.device_put(buffer, sharding)

  def keep_initial(
    self, slices: Mapping[str, LeafSlice], initialize: Initialize
  ) -> None:
    """Closes slices that are not loaded; their old values remain.

    Args:
      slices: the slices by path.
      initialize: called if old leaves are only shapes.
    """
    abstract = {
      path: part
      for path, part in slices.items()
      if isinstance(self._old[part.leaf], jax.ShapeDtypeStruct)
    }
    values = initialize(abstract) if abstract else {}
    for part in slices.values():
      if part.leaf in values:
        self.fill(part, np.asarray(values[part.leaf])[part.index])
      self.close(part)

  def _buffer(self, part: LeafSlice) -> np.ndarray:
    old = self._old[part.leaf]
    buffer = _aligned_empty(old.shape, old.dtype)
    is_stacked = part.index != (...,)
    if is_stacked and not isinstance(old, jax.ShapeDtypeStruct):
      buffer[...] = old  # Slices that are not loaded keep the old values.
    return buffer


def _aligned_empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
  dtype = np.dtype(dtype)
  size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
  memory = np.empty(size + ALIGNMENT, np.uint8)
  start = -memory.ctypes.data % ALIGNMENT
  return memory[start : start + size].view(dtype).reshape(shape)

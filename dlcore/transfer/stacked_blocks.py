"""Arrays of scanned blocks, which are stacked here and separate elsewhere.

`params/blocks/norm/scale` `[L, D]` contains `params/block_{i}/norm/scale` `[D]`
of all L blocks. Published weights have one array per block.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

STACKED = re.compile(r"(?<![^/_])blocks/")
ALIGNMENT = 64
"""Bytes. On CPU, JAX uses an array of this alignment without copying it."""


class Slot(NamedTuple):
  """A leaf of the variables, or the slice of it that belongs to one block."""

  leaf: str
  """Path of the leaf."""

  index: tuple[Any, ...]
  """Index into the leaf: `(block, ...)`, or `(...,)` for the complete leaf."""

  shape: tuple[int, ...]


def slots(leaves: Mapping[str, Any]) -> dict[str, Slot]:
  """Returns the slots by the paths of a model without scanned blocks.

  Args:
    leaves: variables by path, arrays or `jax.ShapeDtypeStruct`.
  """
  by_path = {}
  for path, leaf in leaves.items():
    if STACKED.search(path) is None:
      by_path[path] = Slot(path, (...,), tuple(leaf.shape))
      continue
    for i in range(leaf.shape[0]):
      name = STACKED.sub(f"block_{i}/", path, count=1)
      by_path[name] = Slot(path, (i, ...), tuple(leaf.shape[1:]))
  return by_path


def unstack(leaves: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Returns arrays on the host by the paths of `slots`."""
  arrays = {path: np.asarray(leaf) for path, leaf in leaves.items()}
  return {
    path: arrays[slot.leaf][slot.index] for path, slot in slots(leaves).items()
  }


class LeafBuilder:
  """Builds new leaves slot by slot.

  A leaf moves to its device as soon as all of its slots are closed, so at most
  one leaf at a time is held twice.
  """

  def __init__(self, leaves: Mapping[str, Any]):
    """Takes the old leaves by path, arrays or `jax.ShapeDtypeStruct`."""
    self.leaves = dict(leaves)
    self._old = leaves
    self._buffers: dict[str, np.ndarray] = {}
    self._open = Counter(slot.leaf for slot in slots(leaves).values())

  def fill(self, slot: Slot, array: np.ndarray) -> np.ndarray:
    """Copies an array into a slot and returns the view of the slot."""
    if slot.leaf not in self._buffers:
      self._buffers[slot.leaf] = self._buffer(slot)
    view = self._buffers[slot.leaf][slot.index]
    with np.errstate(all="ignore"):  # The caller rejects overflow to infinity.
      view[...] = array
    return view

  def close(self, slot: Slot) -> None:
    """Marks a slot as filled or unchanged; the last one moves the leaf."""
    self._open[slot.leaf] -= 1
    if not self._open[slot.leaf] and slot.leaf in self._buffers:
      old = self._old[slot.leaf]
      sharding = old.sharding if isinstance(old, jax.Array) else None
      buffer = self._buffers.pop(slot.leaf)
      self.leaves[slot.leaf] = jax.device_put(buffer, sharding)

  def _buffer(self, slot: Slot) -> np.ndarray:
    old = self._old[slot.leaf]
    buffer = _aligned_empty(old.shape, old.dtype)
    is_stacked = slot.index != (...,)
    if is_stacked and not isinstance(old, jax.ShapeDtypeStruct):
      buffer[...] = old  # Slots that are not filled keep the old values.
    return buffer


def _aligned_empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
  dtype = np.dtype(dtype)
  size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
  memory = np.empty(size + ALIGNMENT, np.uint8)
  start = -memory.ctypes.data % ALIGNMENT
  return memory[start : start + size].view(dtype).reshape(shape)

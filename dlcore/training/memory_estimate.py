"""The memory that a run takes, compared with the free memory beforehand.

A refused allocation cannot be left to the backend: on CPU, arrays of a program
whose memory was refused are never completed, and waiting for them hangs.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from dlcore import backend, sharding, trees
from dlcore.errors import UserError
from dlcore.host_memory import binary_size, free_memory
from dlcore.training.state import State
from dlcore.typing import PyTree

HOST_COPIES = 2
"""Copies of the state in host memory: the newest and the best checkpoint."""

KEPT_BLOCKS = 1.75
"""Memory over that of the temporary arrays of a program where malloc keeps
freed blocks: the next step does not always find the same block. From 1.1 (a
ResNet) to 2.3 (a small ViT), jax 0.12.0."""

FREED_BLOCKS = 1.1
"""The same for other allocators on CPU: the libraries of matrix products and
convolutions have buffers of their own."""

LIBRARY_BYTES = 56 << 20
"""Buffers of these libraries, for the smallest models."""


class MemoryEstimate(NamedTuple):
  """Bytes on one device, or on the host, by purpose."""

  parameters: int
  optimizer: int
  others: int
  """Statistics, averages and counts of the state."""

  gradients: int
  activations: int
  """All other temporary arrays of the largest program; 0 before the programs
  are compiled."""

  num_devices: int
  on_host: bool
  """Whether the devices are CPUs, which share the memory of the host."""

  free: int
  """Free bytes of a device, or of the host for CPUs."""

  largest: str
  """The largest array of parameters."""

  @property
  def state(self) -> int:
    """The bytes that stay between steps."""
    return self.parameters + self.optimizer + self.others

  @property
  def copies(self) -> int:
    """The bytes of checkpoints that wait in host memory."""
    return HOST_COPIES * self.state

  @property
  def needed(self) -> int:
    """The bytes to compare with `free`."""
    device = self.state + self.gradients + self.activations
    return self.num_devices * device + self.copies if self.on_host else device

  def with_programs(self, programs: Iterable[Any]) -> "MemoryEstimate":
    """Returns the estimate with the largest of several compiled programs."""
    estimate = self
    for program in programs:
      # None on some backends; programs of `pmap` have no analysis.
      analyze = getattr(program, "memory_analysis", lambda: None)
      if (sizes := analyze()) is not None:
        new = sizes.output_size_in_bytes - sizes.alias_size_in_bytes
        estimate = estimate.with_working_bytes(sizes.temp_size_in_bytes + new)
    return estimate

  def with_working_bytes(self, count: int) -> "MemoryEstimate":
    """Returns the estimate with temporary arrays of `count` bytes, if larger.

    Args:
      count: the memory of a program on one device that is not its input.
    """
    if self.on_host:
      keeps = backend.keeps_freed_blocks()
      factor = KEPT_BLOCKS if keeps else FREED_BLOCKS
      count = int(factor * count) + LIBRARY_BYTES
    activations = max(count - self.gradients, self.activations)
    return self._replace(activations=activations)

  def check(self, remedy: str = "") -> None:
    """Compares the estimate with the free memory.

    Args:
      remedy: how to save memory, by default a setting of `fit` that reduces
        the largest part.

    Raises:
      UserError: it does not fit; contains its parts and a remedy.
    """
    if self.needed <= self.free:
      return
    raise UserError(
      f"expected a run that fits in {binary_size(self.free)} of free memory",
      f"got an estimate of {self}",
      remedy or self._remedy(),
    )

  def __str__(self) -> str:
    parts = {
      "parameters": self.parameters,
      "optimizer": self.optimizer,
      "other state": self.others,
      "gradients": self.gradients,
      "activations": self.activations,
    }
    if self.on_host:
      parts["checkpoints"] = self.copies
    sizes = [f"{name} {binary_size(n)}" for name, n in parts.items() if n]
    copies = f" on each of {self.num_devices} devices"
    where = copies if self.num_devices > 1 else ""
    return f"{binary_size(self.needed)}: {', '.join(sizes)}{where}"

  def _remedy(self) -> str:
    if self.activations > self.state:
      return (
        "set batch_size to a smaller and accumulate to a larger value, or use "
        "a smaller model or smaller inputs"
      )
    return (
      f"use a smaller model (its largest array is {self.largest}), or an "
      "optimizer with a smaller state, such as sgd"
    )


def estimate_memory(
  state: State, partitioner: sharding.Partitioner, limit: float = 0.0
) -> MemoryEstimate:
  """Returns the estimate of a run, without the activations.

  Args:
    state: shapes and dtypes of the train state.
    partitioner: the devices.
    limit: the memory that the run may take in GiB; 0 for the free memory.
  """
  parameters, optimizer = num_bytes(state.params), num_bytes(state.opt_state)
  device = partitioner.mesh.devices.flat[0]
  on_host = device.platform == "cpu"
  return MemoryEstimate(
    parameters=parameters,
    optimizer=optimizer,
    others=num_bytes(state) - parameters - optimizer,
    gradients=parameters,
    activations=0,
    num_devices=partitioner.size,
    on_host=on_host,
    free=int(limit * 2**30) or _free_on(device, on_host),
    largest=_largest(trees.flatten(state.params)),
  )


def num_bytes(tree: PyTree) -> int:
  """Returns the size of the arrays of a tree, or of their shapes, in bytes."""
  return sum(map(_array_bytes, jax.tree.leaves(tree)))


def _array_bytes(array: Any) -> int:
  return math.prod(array.shape) * np.dtype(array.dtype).itemsize


def _largest(params: Mapping[str, Any]) -> str:
  """Returns path, shape and size of the largest array: `"kernel [3, 4]"`."""
  if not params:
    return "empty"
  path = max(params, key=lambda path: _array_bytes(params[path]))
  size = binary_size(_array_bytes(params[path]))
  return f"{path} {list(params[path].shape)} of {size}"


def _free_on(device: jax.Device, on_host: bool) -> int:
  """Returns the free bytes of the host or a device, unlimited if unknown."""
  if on_host:
    free = free_memory()
  else:
    sizes = device.memory_stats() or {}
    used = sizes.get("bytes_in_use", 0)
    free = sizes["bytes_limit"] - used if "bytes_limit" in sizes else None
  return 2**63 if free is None else free

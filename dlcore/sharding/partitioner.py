"""One step function for any number of devices, by `jit` or by `pmap`."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dlcore.errors import UserError
from dlcore.sharding.rules import (
  DATA_AXIS,
  STATE_RULES,
  Rule,
  partition_specs,
)
from dlcore.typing import Batch, PyTree

COMPILERS = ("jit", "pmap")


@dataclasses.dataclass(frozen=True)
class Partitioner:
  """A mesh of devices and the way in which a step is compiled for it."""

  mesh: Mesh
  compiler: str = "jit"
  """`"jit"` with named shardings, or `"pmap"` with an axis name."""

  rules: Sequence[Rule] = STATE_RULES
  """The layout of the train state by path."""

  @property
  def axis_name(self) -> str | None:
    """The axis that sums and batch norm must name; None under `jit`."""
    return DATA_AXIS if self.compiler == "pmap" else None

  @property
  def size(self) -> int:
    """The number of devices."""
    return self.mesh.size

  @property
  def overlaps(self) -> bool:
    """Whether a step may be dispatched before the last one is done.

    Virtual CPU devices share one pool of threads: two steps in flight can
    each hold half of it in their collectives and deadlock.
    """
    return self.size == 1 or not self._on_cpu

  @property
  def compiler_options(self) -> dict[str, Any] | None:
    """The options of XLA for these devices, or None for the defaults."""
    return _cpu_options() if self._on_cpu else None

  @property
  def init_compiler_options(self) -> dict[str, Any] | None:
    """The options for a program that runs once, where compiling dominates.

    The initial parameters of a ResNet-50 took 3.3 s in place of 10.5 s, with
    the same bits (two cores, jax 0.12.0).
    """
    return {"xla_backend_optimization_level": 1} if self._on_cpu else None

  @property
  def _on_cpu(self) -> bool:
    return self.mesh.devices.flat[0].platform == "cpu"

  def memory_for_data(self) -> int:
    """Returns the memory for resident data in bytes, a quarter of a device."""
    device = self.mesh.devices.flat[0]
    stats = None if self._on_cpu else device.memory_stats()
    return stats["bytes_limit"] // 4 if stats else 2 << 30

  def replicate(self, tree: PyTree) -> PyTree:
    """Puts a copy of every array on every device."""
    return jax.device_put(tree, NamedSharding(self.mesh, PartitionSpec()))

  def put_state(self, state: PyTree) -> PyTree:
    """Puts the arrays of a train state on the devices, by `rules`."""
    return jax.device_put(state, self._shardings(state))

  def split(self, batch: Batch) -> Batch:
    """Puts arrays `[B, ...]` on the devices, B / devices rows on each."""
    rows = NamedSharding(self.mesh, PartitionSpec(DATA_AXIS))
    return jax.device_put(batch, rows)

  def compile(
    self,
    step: Callable,
    state: PyTree,
    arrays: Batch,
    batch: Batch,
    *,
    num_steps: int = 1,
    updates_state: bool = True,
  ) -> Callable:
    """Compiles `step(state, arrays, batch) -> (state, log)` ahead of time.

    Args:
      step: the pure function of a single step.
      state: an example of the train state.
      arrays: resident data `[N, ...]`, a copy on every device.
      batch: an example of the NumPy arrays `[B, ...]` of one step.
      num_steps: with more than 1, the compiled program takes batches
        `[num_steps, B, ...]` and returns logs with that leading axis.
      updates_state: whether the program returns a state, in the memory of its
        input; False if `step` is a measurement that returns its values alone.
    """
    donated = (0,) if updates_state else ()
    if num_steps > 1:
      step = _repeat(step)
      batch = jax.tree.map(lambda rows: np.stack([rows] * num_steps), batch)
    axis = 1 if num_steps > 1 else 0
    if self.compiler == "pmap":
      return self._pmap(step, axis, donated, state, arrays, batch)
    layout = self._shardings(state)
    whole = NamedSharding(self.mesh, PartitionSpec())
    rows = NamedSharding(self.mesh, PartitionSpec(*[None] * axis, DATA_AXIS))
    jitted = jax.jit(
      step,
      in_shardings=(layout, whole, rows),
      out_shardings=(layout, whole) if updates_state else whole,
      donate_argnums=donated,
    )
    lowered = jitted.lower(state, arrays, batch)
    return lowered.compile(compiler_options=self.compiler_options)

  def _shardings(self, state: PyTree) -> PyTree:
    return jax.tree.map(
      lambda spec: NamedSharding(self.mesh, spec),
      partition_specs(state, self.rules),
      is_leaf=lambda node: isinstance(node, PartitionSpec),
    )

  def _pmap(self, step, axis, donated, state, arrays, batch) -> Callable:
    state_axes = jax.tree.map(
      lambda spec: 0 if spec == PartitionSpec(DATA_AXIS) else None,
      partition_specs(state, self.rules),
      is_leaf=lambda node: isinstance(node, PartitionSpec),
    )
    mapped = jax.pmap(
      step,
      axis_name=DATA_AXIS,
      in_axes=(state_axes, None, axis),
      out_axes=(state_axes, None) if donated else None,
      devices=list(self.mesh.devices.flat),
      donate_argnums=donated,
    )

    def reshape_carry(state: PyTree, reshape: Callable) -> PyTree:
      return jax.tree.map(
        lambda axis, leaf: leaf if axis is None else reshape(leaf),
        state_axes,
        state,
        is_leaf=lambda node: node is None,
      )

    def split_rows(leaf):
      return leaf.reshape(self.size, -1, *leaf.shape[1:])

    def join_rows(leaf):
      return leaf.reshape(-1, *leaf.shape[2:])

    def shard(batch: Batch) -> Batch:
      return {
        name: _shard(np.asarray(array), axis, self.size)
        for name, array in batch.items()
      }

    has_carry = any(axis == 0 for axis in jax.tree.leaves(state_axes))
    example = state
    if has_carry:
      example = jax.eval_shape(lambda s: reshape_carry(s, split_rows), state)
    lowered = mapped.lower(example, arrays, shard(batch))
    compiled = lowered.compile(compiler_options=self.compiler_options)

    def call(state: PyTree, arrays: Batch, batch: Batch):
      if not has_carry:
        return compiled(state, arrays, shard(batch))
      state = reshape_carry(state, split_rows)
      result = compiled(state, arrays, shard(batch))
      if not donated:
        return result
      state, log = result
      return reshape_carry(state, join_rows), log

    return call


def partitioner(
  batch_size: int,
  compiler: str = "jit",
  devices: Sequence[jax.Device] | None = None,
) -> Partitioner:
  """Returns a partitioner for batches over `devices`, by default all.

  Raises:
    UserError: `batch_size` is not divisible by the number of devices, there is
      no device, or the compiler is unknown.
  """
  devices = jax.devices() if devices is None else devices
  if not devices:
    raise UserError("expected one device or more", f"got {devices=}")
  if compiler not in COMPILERS:
    raise UserError(
      "expected compiler to be 'jit' or 'pmap'", f"got {compiler!r}"
    )
  if batch_size % len(devices):
    lower = batch_size // len(devices) * len(devices)
    higher = lower + len(devices)
    raise UserError(
      f"expected batch_size to be divisible by the {len(devices)} devices",
      f"got batch_size={batch_size}: {batch_size} / {len(devices)} = "
      f"{batch_size / len(devices):g} examples on each",
      f"try {lower} or {higher}" if lower else f"try {higher}",
    )
  mesh = jax.make_mesh(
    (len(devices),), (DATA_AXIS,), axis_types=(AxisType.Auto,), devices=devices
  )
  return Partitioner(mesh, compiler)


def _repeat(step: Callable) -> Callable:
  def steps(state: PyTree, arrays: PyTree, batches: Batch):
    return jax.lax.scan(
      lambda state, batch: step(state, arrays, batch), state, batches
    )

  return steps


def _shard(array: np.ndarray, axis: int, devices: int) -> np.ndarray:
  """Returns `array` with `axis` reshaped to (devices, rows on each)."""
  shape = array.shape
  rows = shape[axis] // devices
  return array.reshape(*shape[:axis], devices, rows, *shape[axis + 1 :])


@cache
def _cpu_options() -> dict[str, Any] | None:
  """Leaves convolutions to Eigen, and reductions and matmuls to YNNPACK.

  With YNNPACK for all of them, the default, a step of a ResNet-18 for 32x32
  pixels took 1.1 times as long, and one of a small CNN 1.2 times (two cores,
  jax 0.10.2).
  """
  kinds = "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_REDUCE"
  options = {"xla_cpu_experimental_ynn_fusion_type": kinds}
  try:
    jax.jit(lambda: 0).lower().compile(compiler_options=options)
  except jax.errors.JaxRuntimeError:  # This version has no such option.
    return None
  return options

"""Data parallelism: the batch is split over devices, the rest replicated."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import cache

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dlcore.data.source import Source
from dlcore.errors import UserError
from dlcore.typing import Batch, PyTree

AXIS = "data"
"""The mesh axis over which a batch is split."""


@dataclasses.dataclass(frozen=True)
class DataParallel:
  """A mesh of devices and the way in which a step is compiled for it."""

  mesh: Mesh
  compiler: str
  """`"jit"` with named shardings, or `"pmap"` with an axis name."""

  @property
  def axis_name(self) -> str | None:
    """The axis that sums and batch norm must name; None under `jit`."""
    return AXIS if self.compiler == "pmap" else None

  @property
  def size(self) -> int:
    """The number of devices."""
    return self.mesh.size

  @property
  def overlaps(self) -> bool:
    """Tells whether a step may be dispatched before the last one is done.

    Virtual CPU devices share one pool of threads: two steps in flight can
    hold it with half of each one's collectives, and wait for ever.
    """
    return self.size == 1 or self.mesh.devices.flat[0].platform != "cpu"

  def memory_for_data(self) -> int:
    """Returns how many bytes of data may lie on a device: a quarter of it."""
    device = self.mesh.devices.flat[0]
    stats = None if device.platform == "cpu" else device.memory_stats()
    return stats["bytes_limit"] // 4 if stats else 2 << 30

  @property
  def compiler_options(self) -> dict[str, str] | None:
    """What XLA is told when it compiles for these devices; None is nothing."""
    return _for_cpu() if self._on_cpu else None

  @property
  def once_options(self) -> dict[str, int] | None:
    """The same for what runs once, where compiling takes the most time.

    The initial parameters of a ResNet-50 took 3.3 s in place of 10.5 s, with
    the same bits (two cores, jax 0.12.0).
    """
    return {"xla_backend_optimization_level": 1} if self._on_cpu else None

  @property
  def _on_cpu(self) -> bool:
    return self.mesh.devices.flat[0].platform == "cpu"

  def replicate(self, tree: PyTree) -> PyTree:
    """Puts a copy of every array on every device."""
    return jax.device_put(tree, NamedSharding(self.mesh, PartitionSpec()))

  def split(self, batch: Batch) -> Batch:
    """Puts arrays `[B, ...]` on the devices, B / devices rows on each."""
    return jax.device_put(batch, NamedSharding(self.mesh, PartitionSpec(AXIS)))

  def compile(
    self,
    step: Callable,
    state: PyTree,
    dataset: Batch,
    batch: Batch,
    *,
    repeat: bool = False,
    donate: bool = True,
  ) -> Callable:
    """Compiles `step(state, dataset, batch) -> (state, log)`, ahead of time.

    Args:
      step: the pure function of a single step.
      state: an example of it, as are:
      dataset: arrays `[N, ...]` on every device.
      batch: NumPy arrays `[B, ...]`.
      repeat: every array of the batch has a leading axis of steps, which one
        call runs through; the log then has that axis too.
      donate: whether the step may write over the state that it is given.
    """
    donated = (0,) if donate else ()
    function = _repeated(step) if repeat else step
    axis = 1 if repeat else 0
    if self.compiler == "pmap":
      return self._pmap(function, axis, donated, state, dataset, batch)
    whole = NamedSharding(self.mesh, PartitionSpec())
    part = NamedSharding(self.mesh, PartitionSpec(*[None] * axis, AXIS))
    jitted = jax.jit(
      function,
      in_shardings=(whole, whole, part),
      out_shardings=whole,
      donate_argnums=donated,
    )
    lowered = jitted.lower(state, dataset, batch)
    return lowered.compile(compiler_options=self.compiler_options)

  def _pmap(self, function, axis, donated, state, dataset, batch) -> Callable:
    mapped = jax.pmap(
      function,
      axis_name=AXIS,
      in_axes=(None, None, axis),
      out_axes=None,
      devices=list(self.mesh.devices.flat),
      donate_argnums=donated,
    )

    def shares(batch: Batch) -> Batch:
      return {
        name: _shares(np.asarray(array), axis, self.size)
        for name, array in batch.items()
      }

    lowered = mapped.lower(state, dataset, shares(batch))
    compiled = lowered.compile(compiler_options=self.compiler_options)

    def call(state: PyTree, dataset: Batch, batch: Batch):
      return compiled(state, dataset, shares(batch))

    return call


def data_parallel(
  batch_size: int,
  compiler: str = "jit",
  devices: Sequence[jax.Device] | None = None,
) -> DataParallel:
  """Spreads batches over `devices`, by default all local ones.

  Raises:
    UserError: `batch_size` does not divide by the number of devices, or the
      compiler is not known.
  """
  devices = jax.local_devices() if devices is None else devices
  if compiler not in ("jit", "pmap"):
    raise UserError(
      "expected training.compile to be 'jit' or 'pmap'", f"got {compiler!r}"
    )
  if batch_size % len(devices):
    lower = batch_size // len(devices) * len(devices)
    higher = lower + len(devices)
    raise UserError(
      f"expected a batch that divides by the {len(devices)} devices",
      f"got data.batch_size={batch_size}: {batch_size} / {len(devices)} = "
      f"{batch_size / len(devices):g} examples on each",
      f"try {lower} or {higher}" if lower else f"try {higher}",
    )
  mesh = jax.make_mesh(
    (len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices
  )
  return DataParallel(mesh=mesh, compiler=compiler)


def on_device(
  placement: str, parallel: DataParallel, *sources: Source | None
) -> bool:
  """Tells whether the arrays of `sources` are to lie on the device.

  Raises:
    UserError: `placement` is not known or cannot be had.
  """
  given = [source for source in sources if source is not None]
  if placement not in ("auto", "device", "stream"):
    raise UserError(
      "expected data.placement to be 'auto', 'device' or 'stream'",
      f"got {placement!r}",
    )
  in_memory = all(source.arrays is not None for source in given)
  if placement == "device" and not in_memory:
    raise UserError(
      "expected data in memory for data.placement='device'",
      "got data that is too large, which is read batch by batch",
      "use data.placement='stream'",
    )
  if placement == "stream" or not in_memory:
    return False
  size = sum(a.nbytes for source in given for a in source.arrays.values())
  return placement == "device" or size <= parallel.memory_for_data()


def _repeated(step: Callable) -> Callable:
  def steps(state: PyTree, dataset: PyTree, batches: Batch):
    return jax.lax.scan(
      lambda state, batch: step(state, dataset, batch), state, batches
    )

  return steps


def _shares(array: np.ndarray, axis: int, devices: int) -> np.ndarray:
  """Splits `axis` into (devices, rows on each)."""
  shape = array.shape
  rows = shape[axis] // devices
  return array.reshape(*shape[:axis], devices, rows, *shape[axis + 1 :])


@cache
def _for_cpu() -> dict[str, str] | None:
  """Leaves convolutions to Eigen, and sums and matrices to YNNPACK.

  With all of them, as is the default, a step of a ResNet-18 for 32x32 pixels
  took 1.1 times as long, and one of a small CNN 1.2 times (two cores, jax
  0.10.2).
  """
  kinds = "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_REDUCE"
  options = {"xla_cpu_experimental_ynn_fusion_type": kinds}
  try:
    jax.jit(lambda: 0).lower().compile(compiler_options=options)
  except jax.errors.JaxRuntimeError:  # This version has no such option.
    return None
  return options

"""The memory estimate of a run that is not started."""

from collections.abc import Sequence

import jax
import optax

from dlcore import data, sharding
from dlcore.task import Task
from dlcore.training import setup
from dlcore.training.activation_estimate import temporary_bytes
from dlcore.training.feed import Feed
from dlcore.training.memory_estimate import MemoryEstimate, estimate_memory
from dlcore.training.state_initializer import StateInitializer
from dlcore.training.update import Penalty

COMPILED = 1.3
"""Temporary memory of a compiled step over the estimate from its trace, which
does not see the buffers that XLA adds: 1.0 to 1.5 for most models, 0.7 for a
GRU, 3 for an EfficientNet-Lite (CPU, jax 0.12.0)."""


def preview_memory(
  task: Task,
  tx: optax.GradientTransformation,
  train: data.Source,
  *,
  seed: int = 0,
  batch_size: int = 128,
  order: data.Order | None = None,
  penalty: Penalty | None = None,
  ema: float = 0.0,
  accumulate: int = 1,
  spike_factor: float = 0.0,
  placement: str = "auto",
  compiler: str = "jit",
  devices: Sequence[jax.Device] | None = None,
  memory_limit: float = 0.0,
) -> MemoryEstimate:
  """Returns the memory estimate of `fit` with these arguments.

  The step is traced, not compiled, and no parameter is allocated. `fit` itself
  compares the memory of its compiled programs, which is more precise.
  """
  order = order or data.shuffled(train.size, batch_size)
  partitioner = sharding.partitioner(order.batch_size, compiler, devices)
  feed = Feed(
    train,
    order,
    partitioner,
    seed=seed,
    placement=placement,
    workers=0,
  )
  example = feed.read(0)
  step, _, create = setup.build_step(
    task,
    tx,
    example,
    penalty=penalty,
    accumulate=accumulate,
    seed=seed,
    ema=ema,
    spike_factor=spike_factor,
    max_consecutive_skips=3,
    log_every=50,
    axis_name=partitioner.axis_name,
  )
  initializer = StateInitializer(create, example, seed, None, partitioner)
  state = initializer.abstract
  program = jax.make_jaxpr(step)(state, example)
  memory = estimate_memory(state, partitioner, memory_limit)
  share = COMPILED * temporary_bytes(program) / partitioner.size
  return memory.with_working_bytes(int(share))

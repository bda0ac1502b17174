"""Training steps with dlcore's convolutions on CPU against XLA's.

Both programs are the same model, with `DLCORE_CONVOLUTION=xla` for one of them,
and alternate in one process.
"""

import os
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from benchmarks import problems

from dlcore import models, tasks, training

MODELS = {
  "resnet18, 32 px": ("resnet18", {"stem": "small"}, 32, 32),
  "resnet50, 64 px": ("resnet50", {}, 64, 16),
  "efficientnet_lite0, 64 px": ("efficientnet_lite0", {}, 64, 16),
  "convnext_tiny, 64 px": ("convnext_tiny", {}, 64, 8),
}
"""Name, settings, pixels and batch size."""

STEPS = 3


class Program(NamedTuple):
  """A compiled training step and its cost."""

  run: Callable[[], None]
  compile_seconds: float
  temporary_mb: float


def measure(repeats: int) -> dict:
  """Returns the comparison of each model: XLA's time over dlcore's."""
  jax.config.update("jax_enable_compilation_cache", False)
  return {name: _compare(*model, repeats) for name, model in MODELS.items()}


def _compare(name, settings, pixels, batch_size, repeats) -> dict:
  os.environ.pop("DLCORE_CONVOLUTION", None)
  ours = _program(name, settings, pixels, batch_size)
  os.environ["DLCORE_CONVOLUTION"] = "xla"
  theirs = _program(name, settings, pixels, batch_size)
  rows = [[_seconds(ours), _seconds(theirs)] for _ in range(repeats + 1)][1:]
  ratios = [xla / dlcore for dlcore, xla in rows]
  times = [1e3 * statistics.median(times) for times in zip(*rows, strict=True)]
  return {
    "batch": batch_size,
    "dlcore_ms": times[0],
    "xla_ms": times[1],
    "ratio": statistics.median(ratios),
    "least": min(ratios),
    "most": max(ratios),
    "dlcore_compile_seconds": ours.compile_seconds,
    "xla_compile_seconds": theirs.compile_seconds,
    "dlcore_temporary_mb": ours.temporary_mb,
    "xla_temporary_mb": theirs.temporary_mb,
  }


def _program(name, settings, pixels, batch_size) -> Program:
  """Compiles a training step."""
  model = models.create(name, num_classes=10, **settings)
  task = tasks.classification(
    model, normalization={"mean": [0.5] * 3, "std": [0.29] * 3}
  )
  tx = problems.optimizer()
  generator = np.random.default_rng(0)
  batch = {
    "image": generator.integers(
      0, 256, (batch_size, pixels, pixels, 3), np.uint8
    ),
    "label": generator.integers(0, 10, batch_size).astype(np.int32),
    "index": np.arange(batch_size),
  }
  state = training.init_state(task, tx, batch)
  start = time.perf_counter()
  step = jax.jit(training.make_step(task, tx), donate_argnums=0)
  compiled = step.lower(state, batch).compile()
  compile_seconds = time.perf_counter() - start
  temporary = compiled.memory_analysis().temp_size_in_bytes

  def run() -> None:
    nonlocal state
    for _ in range(STEPS):
      state, _ = compiled(state, batch)
    jax.block_until_ready(state)

  return Program(run, compile_seconds, temporary / 1e6)


def _seconds(program: Program) -> float:
  """Returns the time of a step."""
  start = time.perf_counter()
  program.run()
  return (time.perf_counter() - start) / STEPS

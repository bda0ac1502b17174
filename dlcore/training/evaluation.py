"""Metrics and predictions over a whole source, every example once."""

from collections.abc import Callable, Iterator

import jax
import numpy as np

from dlcore import metrics
from dlcore.data.loader import evaluation_batches
from dlcore.data.source import Source
from dlcore.scale import DataParallel, data_parallel, on_device
from dlcore.task import Task
from dlcore.training.gradient import gather
from dlcore.typing import Batch, Extra, Params


class Evaluator:
  """Evaluates a task on one source; compiled once, at the first call.

  The last batch is padded and masked, never dropped, and a number does not
  depend on the batch size but for rounding.
  """

  def __init__(
    self,
    task: Task,
    source: Source,
    *,
    seed: int = 0,
    batch_size: int = 512,
    placement: str = "auto",
    parallel: DataParallel | None = None,
  ):
    """Places the source.

    Args:
      task: what is evaluated.
      source: the examples.
      seed: of the run; an example's randomness comes from it and its index.
      batch_size: rounded up to a multiple of the devices.
      placement: as in `training.fit`.
      parallel: the devices, by default all local ones.
    """
    devices = jax.local_devices()
    self.parallel = parallel or data_parallel(len(devices), devices=devices)
    batch_size = min(batch_size, source.size)
    self.batch_size = -(-batch_size // self.parallel.size) * self.parallel.size
    self.task = task
    self.source = source
    self.key = jax.random.fold_in(jax.random.key(seed), 2)
    self.dataset: Batch = {}
    if on_device(placement, self.parallel, source):
      self.dataset = self.parallel.replicate(dict(source.arrays or {}))
    options = self.parallel.compiler_options
    self._measure = jax.jit(self._metrics, compiler_options=options)
    self._predict = jax.jit(self._rows, compiler_options=options)
    self._compiled = None

  def compile(self, params: Params, extra: Extra) -> set[str]:
    """Compiles what `__call__` runs, and returns the names of its metrics."""
    batch = next(self._batches())
    lowered = self._measure.lower(params, extra, self.dataset, batch)
    self._compiled = lowered.compile()
    ones = jax.tree.map(lambda leaf: np.ones(leaf.shape), lowered.out_info)
    return set(metrics.compute(ones, self.task.derived))

  def __call__(
    self,
    params: Params,
    extra: Extra,
    stopping: Callable[[], bool] = lambda: False,
  ) -> dict[str, float] | None:
    """Returns the metrics, with those that the task derives.

    Args:
      params: of the task.
      extra: of the task.
      stopping: asked after every batch; true gives up and returns None.
    """
    if self._compiled is None:
      self.compile(params, extra)
    parts = []
    for batch in self._batches():
      part = self._compiled(params, extra, self.dataset, batch)
      parts.append(part)
      # A few batches are on their way at a time, on virtual devices one.
      ahead = 2 if self.parallel.overlaps else 1
      jax.block_until_ready(parts[-ahead:][0])
      if stopping():
        return None
    return metrics.compute(metrics.total(parts), self.task.derived)

  def predict(self, params: Params, extra: Extra) -> dict[str, np.ndarray]:
    """Returns the predictions `[N, ...]` by name, in the source's order."""
    pieces = []
    for batch in self._batches():
      rows = self._predict(params, extra, self.dataset, batch)
      pieces.append(jax.device_get(rows))
    return {
      name: np.concatenate([piece[name] for piece in pieces])[
        : self.source.size
      ]
      for name in pieces[0]
    }

  def _batches(self) -> Iterator[Batch]:
    source = self.source
    if self.dataset:  # The rows are gathered from it on the device.
      source = source._replace(read=lambda rows: {})
    for batch in evaluation_batches(source, self.batch_size):
      yield self.parallel.split(batch)

  def _metrics(self, params, extra, dataset, batch):
    batch = gather(dataset, batch)
    return self.task.evaluate(params, extra, batch, self.key)

  def _rows(self, params, extra, dataset, batch):
    batch = gather(dataset, batch)
    return self.task.predict(params, extra, batch, self.key)

"""The batches of a run: resident on the devices, or read by the host."""

from collections.abc import Generator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from dlcore import data, sharding
from dlcore.training.intervals import Intervals
from dlcore.training.state import State
from dlcore.typing import Batch


class Dispatch(NamedTuple):
  """The input of one call of a compiled program."""

  count: int
  """The number of steps."""

  length: int | None
  """The length that sequences are cut to; None leaves them whole."""

  batch: Batch
  """NumPy arrays `[B, ...]`, of several steps `[count, B, ...]`. Where the
  data is resident, only the rows to gather."""


class Feed:
  """Yields the batches of a run, in the order that (seed, index) give."""

  def __init__(
    self,
    source: data.Source,
    order: data.Order,
    partitioner: sharding.Partitioner,
    *,
    seed: int,
    placement: str,
    workers: int,
    others: Sequence[data.Source] = (),
  ):
    """Places the data.

    Args:
      source: the examples.
      order: which of them make a batch.
      partitioner: the devices.
      seed: of the run.
      placement: see `fit`.
      workers: see `fit`.
      others: sources that need a place on the devices too.
    """
    self._source, self._order = source, order
    self._seed, self._workers = seed, workers
    self._resident = sharding.fits_on_device(
      placement, partitioner, source, *others
    )
    self.arrays: Batch = {}
    if self._resident:
      self.arrays = partitioner.replicate(dict(source.arrays or {}))
    self.sequences: tuple[str, ...] = source.info.schema.sequences

  def read(self, index: int) -> Batch:
    """Returns one batch `[B, ...]` on the host, uncut."""
    rows = self._rows(index)
    return {**self._source.read(rows["index"]), **rows}

  def examples(self) -> dict[int | None, Batch]:
    """Returns a batch as it is dispatched, for each length of the order."""
    whole = self._rows(0) if self._resident else self.read(0)
    return {
      length: data.cut(whole, self.sequences, length)
      for length in self._order.shapes
    }

  def dispatch(self, index: int) -> Dispatch:
    """Returns any batch as a dispatch of one step."""
    lengths = self._order.shapes
    length = lengths[0]
    if len(lengths) > 1:
      length = self._order(self._seed, index).length
    batch = self._rows(index) if self._resident else self.read(index)
    return Dispatch(1, length, data.cut(batch, self.sequences, length))

  def dispatches(
    self, state: State, intervals: Intervals
  ) -> Generator[Dispatch, None, None]:
    """Yields all that follow `state`; closing it ends reading ahead."""
    step, first = int(state.step), int(state.batch_index)
    stop = first + intervals.steps - step
    if self._resident:
      batches = (self._rows(index) for index in range(first, stop))
    else:
      batches = data.batches(
        self._source,
        self._order,
        self._seed,
        first,
        stop,
        workers=self._workers,
      )
    index = first
    try:
      lengths: Sequence[int | None] = self._order.shapes
      for count in intervals.step_counts(step):
        length = lengths[0]
        if len(lengths) > 1:
          length = self._order(self._seed, index).length
        group = [next(batches) for _ in range(count)]
        index += count
        yield Dispatch(count, length, _stack(group))
    finally:
      batches.close()

  def _rows(self, index: int) -> dict[str, np.ndarray]:
    """Returns the arrays that describe the rows of a batch."""
    rows = self._order(self._seed, index)
    return data.rows_to_arrays(rows, mask=self._order.padded)


def _stack(batches: Sequence[Batch]) -> Batch:
  if len(batches) == 1:
    return batches[0]
  return jax.tree.map(lambda *rows: np.stack(rows), *batches)

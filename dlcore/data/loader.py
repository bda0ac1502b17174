"""Batches of a source, read ahead in threads or processes."""

import contextlib
import functools
from collections.abc import Callable, Generator, Iterator, Sequence

import numpy as np

from dlcore.data.order import InOrder, Order, Rows, Sequential
from dlcore.data.source import Arrays, ReadRows, Source

ENDLESS = 2**40
"""Index of the batch at which a stream without a `stop` ends."""


def batches(
  source: Source,
  order: Order,
  seed: int,
  start: int = 0,
  stop: int | None = None,
  *,
  threads: int = 4,
  workers: int = 0,
  prefetch: int = 8,
) -> Generator[dict[str, np.ndarray], None, None]:
  """Yields the training batches `start`, `start + 1`, ... in this order.

  A batch depends on (seed, batch index) only: neither on where the iteration
  started nor on the threads and workers. Closing or dropping the iterator
  stops the threads and processes.

  Args:
    source: the examples.
    order: which examples make a batch of B rows, such as
      `shuffled(source.size, batch_size)`.
    seed: of the run.
    start: index of the first batch.
    stop: index after the last batch, None for an endless stream.
    threads: number of reading threads in each process.
    workers: number of reading processes, 0 for this one alone; for sources
      whose decoding holds the interpreter's lock. The source must be
      picklable.
    prefetch: number of batches that each process reads ahead.

  Yields:
    NumPy arrays `[B, ...]` by name, with those of `rows_to_arrays`.
  """
  read = functools.partial(
    read_batch, source.read, order, seed, source.info.schema.sequences
  )
  stop = ENDLESS if stop is None else stop
  yield from prefetched(read, start, stop, threads, workers, prefetch)


def evaluation_batches(
  source: Source,
  order: InOrder | Sequential,
  *,
  threads: int = 4,
  prefetch: int = 8,
) -> Iterator[dict[str, np.ndarray]]:
  """Yields every example once, in batches of one size.

  Args:
    source: the examples.
    order: `in_order(source.size, batch_size)`, or `sequential(...)` for models
      that carry state from batch to batch.
    threads: number of reading threads, if the source is streamed.
    prefetch: number of batches to read ahead.

  Yields:
    As `batches`, and always `mask`, float32 `[B]`: 0 marks padding, which is
    example 0.
  """
  sequences = source.info.schema.sequences
  read = functools.partial(
    read_batch, source.read, order, 0, sequences, mask=True
  )
  if source.arrays is not None:
    yield from map(read, range(order.num_batches))
  else:
    yield from prefetched(read, 0, order.num_batches, threads, 0, prefetch)


def read_batch(
  read: ReadRows,
  order: Order,
  seed: int,
  sequences: Sequence[str],
  batch_index: int,
  *,
  mask: bool = False,
) -> dict[str, np.ndarray]:
  """Returns one batch; see `batches`.

  Args:
    read: of the source.
    order: which examples make a batch.
    seed: of the run.
    sequences: of the schema.
    batch_index: number of the batch.
    mask: whether to add `mask` even if the order has no padding.
  """
  rows = order(seed, int(batch_index))
  arrays = rows_to_arrays(rows, mask=mask or order.padded)
  batch = cut(read(arrays["index"]), sequences, rows.length)
  return {**batch, **arrays}


def rows_to_arrays(rows: Rows, *, mask: bool) -> dict[str, np.ndarray]:
  """Returns the arrays that describe the rows of a batch.

  Args:
    rows: of an order.
    mask: whether to mark padding, `order.padded` or true.

  Returns:
    `index`, int32 `[B]`, positions in the source, 0 for padding; `slot`, int32
    `[B]`, positions in the global batch; with `mask` also `mask`, float32
    `[B]`, 0 for padding; and `begins`, bool `[B]`, if the order has it.
  """
  index = rows.index
  arrays = {"index": index, "slot": _slots(len(index))}
  if mask:
    arrays["index"] = np.maximum(index, 0)
    arrays["mask"] = (index >= 0).astype(np.float32)
  if rows.begins is not None:
    arrays["begins"] = rows.begins
  return arrays


@functools.lru_cache(maxsize=8)
def _slots(size: int) -> np.ndarray:
  """Returns 0 to `size` - 1; created once, since every step needs it."""
  slots = np.arange(size, dtype=np.int32)
  slots.setflags(write=False)
  return slots


def cut(
  batch: Arrays, sequences: Sequence[str], length: int | None
) -> dict[str, np.ndarray]:
  """Returns `batch` with sequences `[B, T, ...]` cut to `[B, length, ...]`.

  Args:
    batch: arrays of NumPy or JAX by name.
    sequences: names of the arrays to cut, `info.schema.sequences`.
    length: of the rows; None leaves the batch unchanged.
  """
  if length is None:
    return dict(batch)
  return {
    name: array[:, :length] if name in sequences else array
    for name, array in batch.items()
  }


def prefetched(
  read: Callable[[int], dict[str, np.ndarray]],
  start: int,
  stop: int,
  threads: int,
  workers: int,
  prefetch: int,
) -> Iterator[dict[str, np.ndarray]]:
  """Yields `read(i)` for i from start to stop in order, read ahead by Grain.

  Grain maps whole batches, which is a hundred times faster than examples.
  """
  import grain

  options = grain.ReadOptions(
    num_threads=threads, prefetch_buffer_size=max(prefetch, threads)
  )
  dataset = grain.MapDataset.range(start, stop).map(read)
  dataset = dataset.to_iter_dataset(options)
  if workers:
    _mark_flags_as_parsed()
    dataset = dataset.mp_prefetch(
      grain.MultiprocessingOptions(
        num_workers=workers, per_worker_buffer_size=prefetch
      )
    )
  with contextlib.closing(iter(dataset)) as iterator:
    yield from iterator


def _mark_flags_as_parsed() -> None:
  """Marks absl's flags as parsed, for Grain's workers.

  They read flags even if no program parsed them, as in a notebook.
  """
  from absl import flags

  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()

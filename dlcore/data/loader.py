"""Batches of a source, read ahead in threads or processes."""

import contextlib
import functools
from collections.abc import Callable, Iterator

import numpy as np

from dlcore.data.source import Source, indices

ENDLESS = 2**40
"""The batch at which a stream without a `stop` ends: it never comes there."""


def batches(
  source: Source,
  seed: int,
  batch_size: int,
  start: int = 0,
  stop: int | None = None,
  *,
  threads: int = 4,
  workers: int = 0,
  prefetch: int = 8,
) -> Iterator[dict[str, np.ndarray]]:
  """Yields the training batches `start`, `start + 1`, ... in this order.

  A batch depends on (seed, batch index) only: neither on where the iteration
  started nor on the threads and workers. Closing the iterator, or dropping it,
  ends what reads ahead.

  Args:
    source: what to read from.
    seed: of the run, decides the order of the examples.
    batch_size: examples in a batch, B.
    start: index of the first batch.
    stop: index after the last batch, None for no end.
    threads: that read, in each process.
    workers: processes that read, 0 for this one alone; for sources whose
      decoding holds the interpreter's lock. The source must be picklable.
    prefetch: batches that each process reads ahead.

  Yields:
    numpy arrays `[B, ...]` by name, among them `index`, int32 `[B]`.
  """
  read = functools.partial(
    _training_batch, source.read, source.size, seed, batch_size
  )
  stop = ENDLESS if stop is None else stop
  yield from _ahead(read, start, stop, threads, workers, prefetch)


def evaluation_batches(
  source: Source, batch_size: int, *, threads: int = 4, prefetch: int = 8
) -> Iterator[dict[str, np.ndarray]]:
  """Yields every example once, in order, in batches of one size.

  The last batch is filled with example 0, which `mask` tells apart.

  Yields:
    numpy arrays `[B, ...]` by name, among them `index`, int32 `[B]`, and
    `mask`, float32 `[B]`: 1 for an example, 0 for the filling.
  """
  read = functools.partial(
    _evaluation_batch, source.read, source.size, batch_size
  )
  stop = -(-source.size // batch_size)
  if source.arrays is not None:
    yield from map(read, range(stop))
  else:
    yield from _ahead(read, 0, stop, threads, 0, prefetch)


def _training_batch(read, size, seed, batch_size, batch_index):
  chosen = indices(seed, int(batch_index), size, batch_size)
  return {**read(chosen), "index": chosen}


def _evaluation_batch(read, size, batch_size, batch_index):
  rows = np.arange(batch_size, dtype=np.int32) + batch_index * batch_size
  inside = rows < size
  rows = np.where(inside, rows, 0).astype(np.int32)
  return {**read(rows), "index": rows, "mask": inside.astype(np.float32)}


def _ahead(
  read: Callable[[int], dict[str, np.ndarray]],
  start: int,
  stop: int,
  threads: int,
  workers: int,
  prefetch: int,
) -> Iterator[dict[str, np.ndarray]]:
  """Yields `read(i)` for i from start to stop, in order, read ahead by Grain.

  Grain maps whole batches: example by example it is a hundred times slower.
  """
  import grain

  options = grain.ReadOptions(
    num_threads=threads, prefetch_buffer_size=max(prefetch, threads)
  )
  dataset = grain.MapDataset.range(start, stop).map(read)
  dataset = dataset.to_iter_dataset(options)
  if workers:
    _parse_flags()
    dataset = dataset.mp_prefetch(
      grain.MultiprocessingOptions(
        num_workers=workers, per_worker_buffer_size=prefetch
      )
    )
  with contextlib.closing(iter(dataset)) as iterator:
    yield from iterator


def _parse_flags() -> None:
  """Marks absl's flags as parsed: Grain's workers read some, also where no
  program parsed them, as in a notebook.
  """
  from absl import flags

  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()

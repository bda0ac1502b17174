"""Examples per second of every path from the data to the training step."""

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path

import jax
import jax.numpy as jnp
from benchmarks import problems

from dlcore import data, sharding
from dlcore.training.programs import gather

BATCH = 128
SECONDS = 1.0
FILES = 2000


def measure(repeats: int) -> dict:
  """Returns medians of examples per second, by path.

  Each path ends with the batch on the device: `device` gathers from data on
  the device, `memory` on the host, `files` decodes images of 28x28 pixels from
  a folder in threads, `files_workers` in two processes.
  """
  source = problems.images(60_000)
  with tempfile.TemporaryDirectory() as folder:
    _write_images(Path(folder), source)
    streamed = data.load("image_folder", path=folder, in_memory_limit=0).train
    paths = {
      "device": lambda: _on_device(source),
      "memory": lambda: _streamed(source),
      "files": lambda: _streamed(streamed),
      "files_workers": lambda: _streamed(streamed, workers=2),
    }
    rates = {name: [] for name in paths}
    for _ in range(repeats):
      for name, path in paths.items():
        rates[name].append(_rate(path))
  return {name: round(statistics.median(r)) for name, r in rates.items()}


def _rate(path: Callable[[], Generator]) -> float:
  batches = path()
  for _ in range(3):
    jax.block_until_ready(next(batches))
  count, start = 0, time.perf_counter()
  while time.perf_counter() - start < SECONDS:
    jax.block_until_ready(next(batches))
    count += 1
  seconds = time.perf_counter() - start
  batches.close()
  return count * BATCH / seconds


def _on_device(source: data.Source) -> Generator:
  arrays = sharding.partitioner(BATCH).replicate(dict(source.arrays or {}))
  order = data.shuffled(source.size, BATCH)
  take = jax.jit(gather)
  for batch_index in itertools.count():
    rows = order(0, batch_index)
    yield take(arrays, {"index": jnp.asarray(rows.index)})


def _streamed(source: data.Source, workers: int = 0) -> Generator:
  partitioner = sharding.partitioner(BATCH)
  order = data.shuffled(source.size, BATCH)
  for batch in data.batches(source, order, seed=0, workers=workers):
    yield partitioner.split(batch)


def _write_images(folder: Path, source: data.Source) -> None:
  from PIL import Image

  assert source.arrays is not None
  for number in range(FILES):
    path = folder / str(number % 10) / f"{number}.png"
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(source.arrays["image"][number, ..., 0]).save(path)

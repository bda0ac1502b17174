"""The same training steps in dlcore and in PyTorch, alternating in one process.

Sizes, batch, float32, optimizer and threads are the same. The data is in
memory, and a step gathers and normalizes a batch, computes the gradient and
applies AdamW, in PyTorch the fused one. The layout of PyTorch's images is part
of the name.
"""

import os
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from absl import flags
from benchmarks import problems, torch_models

from dlcore import data, sharding, training
from dlcore.data import Source
from dlcore.errors import UserError, lookup
from dlcore.task import Task
from dlcore.training.programs import gather

ONLY = flags.DEFINE_list("only", [], "the models to compare, all by default")


class Peer(NamedTuple):
  """The same model in both libraries."""

  dlcore: Callable[[], Task]
  torch: Callable
  source: Callable[[], Source]
  batch: int
  steps: int
  """Steps of one measurement."""

  channels_last: bool = False


PEERS = {
  "mlp": Peer(problems.mlp, torch_models.mlp, problems.images, 128, 200),
  "cnn": Peer(problems.cnn, torch_models.cnn, problems.images, 128, 60),
  "cnn, PyTorch in channels_last": Peer(
    problems.cnn, torch_models.cnn, problems.images, 128, 60, True
  ),
  "resnet18": Peer(
    problems.resnet18, torch_models.resnet18, problems.photos, 32, 3
  ),
  "resnet18, PyTorch in channels_last": Peer(
    problems.resnet18, torch_models.resnet18, problems.photos, 32, 3, True
  ),
  "lstm": Peer(
    problems.recurrent("lstm"),
    torch_models.recurrent("lstm"),
    problems.sequences,
    64,
    30,
  ),
  "gru": Peer(
    problems.recurrent("gru"),
    torch_models.recurrent("gru"),
    problems.sequences,
    64,
    30,
  ),
  "transformer": Peer(
    problems.transformer, torch_models.transformer, problems.sequences, 32, 10
  ),
  "vit_tiny/8": Peer(
    problems.vit_tiny, torch_models.vit_tiny, problems.photos, 64, 6
  ),
}


def measure(repeats: int) -> dict:
  """Returns milliseconds a step and the ratio PyTorch / dlcore, by model."""
  try:
    import torch  # pyright: ignore[reportMissingImports]
  except ImportError:
    raise UserError(
      "expected an installed PyTorch",
      "got no module named torch",
      "pip install torch, in an environment for this benchmark",
    ) from None
  threads = len(os.sched_getaffinity(0))
  torch.set_num_threads(threads)
  results = {}
  for name in ONLY.value or PEERS:
    peer = lookup(PEERS, name, "model")
    source = peer.source()
    runs = (time_dlcore(peer, source), time_torch(peer, source, torch))
    rows = [[run() for run in runs] for _ in range(repeats + 1)][1:]
    results[name] = {
      "batch": peer.batch,
      "dlcore_ms": statistics.median(row[0] for row in rows),
      "torch_ms": statistics.median(row[1] for row in rows),
      "ratio": statistics.median(row[1] / row[0] for row in rows),
      "least": min(row[1] / row[0] for row in rows),
      "most": max(row[1] / row[0] for row in rows),
    }
  versions = {"jax": jax.__version__, "torch": torch.__version__}
  return {"threads": threads, **versions, **results}


def _batches(peer: Peer, size: int) -> list[np.ndarray]:
  order = data.shuffled(size, peer.batch)
  return [order(0, i).index for i in range(peer.steps)]


def time_dlcore(peer: Peer, source: Source) -> Callable[[], float]:
  """Returns a function that returns the milliseconds of a step of dlcore."""
  task = peer.dlcore()
  devices = jax.devices()[:1]
  partitioner = sharding.partitioner(peer.batch, devices=devices)
  tx = problems.optimizer()
  arrays = partitioner.replicate(data.read_all(source))
  batches = _batches(peer, source.size)
  example = {**source.read(batches[0]), "index": batches[0]}
  state = partitioner.put_state(training.init_state(task, tx, example))
  step = training.make_step(task, tx)

  def gather_and_step(state, arrays, rows):
    return step(state, gather(arrays, rows))

  run = partitioner.compile(
    gather_and_step, state, arrays, {"index": batches[0]}
  )

  def measure() -> float:
    nonlocal state
    start = time.perf_counter()
    for batch in batches:
      state, _ = run(state, arrays, {"index": batch})
    jax.block_until_ready(state)
    return (time.perf_counter() - start) / len(batches) * 1e3

  return measure


def time_torch(peer: Peer, source: Source, torch) -> Callable[[], float]:
  """Returns the same for PyTorch."""
  name = source.info.schema.input
  images = name == "image"
  arrays = data.read_all(source)
  array = arrays[name]
  inputs = torch.from_numpy(
    array.transpose(0, 3, 1, 2).copy() if images else array
  )
  labels = torch.from_numpy(arrays["label"]).long()
  last, first = torch.channels_last, torch.contiguous_format
  layout = last if peer.channels_last else first
  model = peer.torch(torch).to(memory_format=layout).train()
  batches = [
    torch.from_numpy(batch.astype(np.int64))
    for batch in _batches(peer, source.size)
  ]
  tx = torch.optim.AdamW(
    model.parameters(), lr=1e-3, weight_decay=1e-2, fused=True
  )
  criterion = torch.nn.CrossEntropyLoss()

  def measure() -> float:
    start = time.perf_counter()
    for batch in batches:
      x = inputs[batch]
      if images:
        x = ((x.float() / 255 - 0.5) / 0.29).contiguous(memory_format=layout)
      loss = criterion(model(x), labels[batch])
      tx.zero_grad(set_to_none=True)
      loss.backward()
      tx.step()
    return (time.perf_counter() - start) / len(batches) * 1e3

  return measure

"""The same training steps in dlcore and in PyTorch, in turn, in one process.

Same sizes, batch, float32, optimizer and threads; the data lies in memory, and
a step gathers, normalises, goes forward and back, and updates by AdamW, in
PyTorch by its fused one. PyTorch's images are in the layout that is named.
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

from dlcore import scale, training
from dlcore.data import Source, indices
from dlcore.errors import UserError, lookup
from dlcore.task import Task
from dlcore.training import state as states

ONLY = flags.DEFINE_list("only", [], "the models to compare, all by default")


class Peer(NamedTuple):
  """What is measured: the same model twice."""

  ours: Callable[[], Task]
  theirs: Callable
  source: Callable[[], Source]
  batch: int
  steps: int
  """In one turn."""

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
    problems.texts,
    64,
    30,
  ),
  "gru": Peer(
    problems.recurrent("gru"),
    torch_models.recurrent("gru"),
    problems.texts,
    64,
    30,
  ),
  "transformer": Peer(
    problems.transformer, torch_models.transformer, problems.texts, 32, 10
  ),
  "vit_tiny/8": Peer(
    problems.vit_tiny, torch_models.vit_tiny, problems.photos, 64, 6
  ),
}


def measure(repeats: int) -> dict:
  """Returns milliseconds a step and the ratio PyTorch / dlcore, by model."""
  try:
    import torch
  except ImportError:
    raise UserError(
      "expected PyTorch beside dlcore, to compare with",
      "got no module named torch",
      "pip install torch, in an environment of its own",
    ) from None
  threads = len(os.sched_getaffinity(0))
  torch.set_num_threads(threads)
  results = {}
  for name in ONLY.value or PEERS:
    peer = lookup(PEERS, name, "model")
    source = peer.source()
    runs = (_dlcore(peer, source), _torch(peer, source, torch))
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
  return [indices(0, i, size, peer.batch) for i in range(peer.steps)]


def _dlcore(peer: Peer, source: Source) -> Callable[[], float]:
  task = peer.ours()
  parallel = scale.data_parallel(peer.batch, devices=jax.devices()[:1])
  tx = problems.optimizer()
  dataset = parallel.replicate(dict(source.arrays))
  batches = _batches(peer, source.size)
  rows = batches[0][:2]
  sample = {**source.read(rows), "index": rows}
  state = parallel.replicate(states.create(task, tx, sample, 0))
  step = training.make_step(task, tx)
  run = parallel.compile(step, state, dataset, {"index": batches[0]})

  def measure() -> float:
    nonlocal state
    begun = time.perf_counter()
    for batch in batches:
      state, _ = run(state, dataset, {"index": batch})
    jax.block_until_ready(state)
    return (time.perf_counter() - begun) / len(batches) * 1e3

  return measure


def _torch(peer: Peer, source: Source, torch) -> Callable[[], float]:
  images = source.about["input"] == "image"
  array = source.arrays[source.about["input"]]
  inputs = torch.from_numpy(
    array.transpose(0, 3, 1, 2).copy() if images else array
  )
  labels = torch.from_numpy(source.arrays["label"]).long()
  last, first = torch.channels_last, torch.contiguous_format
  layout = last if peer.channels_last else first
  model = peer.theirs(torch).to(memory_format=layout).train()
  batches = [
    torch.from_numpy(batch.astype(np.int64))
    for batch in _batches(peer, source.size)
  ]
  tx = torch.optim.AdamW(
    model.parameters(), lr=1e-3, weight_decay=1e-2, fused=True
  )
  criterion = torch.nn.CrossEntropyLoss()

  def measure() -> float:
    begun = time.perf_counter()
    for batch in batches:
      x = inputs[batch]
      if images:
        x = ((x.float() / 255 - 0.5) / 0.29).contiguous(memory_format=layout)
      loss = criterion(model(x), labels[batch])
      tx.zero_grad(set_to_none=True)
      loss.backward()
      tx.step()
    return (time.perf_counter() - begun) / len(batches) * 1e3

  return measure

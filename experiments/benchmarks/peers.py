"""The same training steps in dlcore and in PyTorch.

Sizes, batch, float32, optimizer and threads are the same. The data is in
memory, and a step gathers and normalizes a batch, computes the gradient and
applies AdamW, in PyTorch the fused one. The layout of PyTorch's images is part
of the name.

Each model has processes of its own, in which the libraries alternate and share
the allocator: the blocks that one model leaves behind change the times of the
next. On a virtual machine the same program may be a third slower for the whole
life of a process; the results are medians of several processes.
`DLCORE_MALLOC=default` or `LD_PRELOAD` choose another allocator.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from absl import flags
from benchmarks import problems, torch_models

from dlcore import backend, data, sharding, training
from dlcore.data import Source
from dlcore.errors import UserError, lookup
from dlcore.task import Task
from dlcore.training.programs import gather

ONLY = flags.DEFINE_list("only", [], "the models to compare, all by default")
PROCESSES = flags.DEFINE_integer("processes", 3, "processes for each model")


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
  "cnn channels_last": Peer(
    problems.cnn, torch_models.cnn, problems.images, 128, 60, True
  ),
  "resnet18": Peer(
    problems.resnet18, torch_models.resnet18, problems.photos, 32, 3
  ),
  "resnet18 channels_last": Peer(
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
  """Returns the comparison of each model, and its machine and versions.

  `dlcore_ms` and `torch_ms` are milliseconds a step, `ratio` is PyTorch over
  dlcore, `dlcore_faults` and `torch_faults` are page faults a step.
  """
  try:
    import torch  # pyright: ignore[reportMissingImports]
  except ImportError:
    raise UserError(
      "expected an installed PyTorch",
      "got no module named torch",
      "pip install torch, in an environment for this benchmark",
    ) from None
  names = ONLY.value or list(PEERS)
  for name in names:
    lookup(PEERS, name, "model")
  if len(names) == PROCESSES.value == 1:
    results = {names[0]: _compare(PEERS[names[0]], repeats, torch)}
  else:
    rounds = [
      {name: _measure_in_process(name, repeats) for name in names}
      for _ in range(PROCESSES.value)
    ]
    results = {name: _merge([one[name] for one in rounds]) for name in names}
  return {
    "threads": _num_threads(),
    "jax": jax.__version__,
    "torch": torch.__version__,
    "allocator": backend.allocator(),
    **results,
  }


def _num_threads() -> int:
  return len(os.sched_getaffinity(0))


def _measure_in_process(name: str, repeats: int) -> dict:
  """Runs this benchmark for a single model."""
  settings = [f"--only={name}", f"--repeats={repeats}", "--processes=1"]
  done = subprocess.run(
    [sys.executable, sys.argv[0], "peers", *settings],
    stdout=subprocess.PIPE,
    text=True,
    check=True,
  )
  return json.loads(done.stdout.splitlines()[-1])[name]


def _merge(results: Sequence[dict]) -> dict:
  """Returns the medians over processes, and the range of all ratios."""
  merged = {
    key: statistics.median(result[key] for result in results)
    for key in results[0]
  }
  merged["least"] = min(result["least"] for result in results)
  merged["most"] = max(result["most"] for result in results)
  return merged


def _compare(peer: Peer, repeats: int, torch) -> dict:
  """Alternates measurements of both libraries, after one of each to warm up."""
  torch.set_num_threads(_num_threads())
  source = peer.source()
  runs = (steps_of_dlcore(peer, source), steps_of_torch(peer, source, torch))
  rows = [[_measure_step(run) for run in runs] for _ in range(repeats + 1)][1:]
  ours, theirs = zip(*rows, strict=True)
  ratios = [b.milliseconds / a.milliseconds for a, b in rows]
  return {
    "batch": peer.batch,
    "dlcore_ms": statistics.median(step.milliseconds for step in ours),
    "torch_ms": statistics.median(step.milliseconds for step in theirs),
    "ratio": statistics.median(ratios),
    "least": min(ratios),
    "most": max(ratios),
    "dlcore_faults": statistics.median(step.faults for step in ours),
    "torch_faults": statistics.median(step.faults for step in theirs),
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
  }


class Step(NamedTuple):
  """A measured step."""

  milliseconds: float
  faults: float
  """Page faults."""


def _measure_step(run: Callable[[], int]) -> Step:
  """Measures a function that makes steps and returns their number."""
  faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  start = time.perf_counter()
  steps = run()
  seconds = time.perf_counter() - start
  faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
  return Step(seconds / steps * 1e3, faults / steps)


def _batches(peer: Peer, size: int) -> list[np.ndarray]:
  order = data.shuffled(size, peer.batch)
  return [order(0, i).index for i in range(peer.steps)]


def steps_of_dlcore(peer: Peer, source: Source) -> Callable[[], int]:
  """Returns a function that makes steps of dlcore and returns their number."""
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

  def steps() -> int:
    nonlocal state
    for batch in batches:
      state, _ = run(state, arrays, {"index": batch})
    jax.block_until_ready(state)
    return len(batches)

  return steps


def steps_of_torch(peer: Peer, source: Source, torch) -> Callable[[], int]:
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

  def steps() -> int:
    for batch in batches:
      x = inputs[batch]
      if images:
        x = ((x.float() / 255 - 0.5) / 0.29).contiguous(memory_format=layout)
      loss = criterion(model(x), labels[batch])
      tx.zero_grad(set_to_none=True)
      loss.backward()
      tx.step()
    return len(batches)

  return steps

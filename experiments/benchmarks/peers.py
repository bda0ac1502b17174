"""The same training steps in dlcore and in PyTorch, in turn, in one process.

Same sizes, batch, float32, optimizer and threads; the data lies in memory as
bytes, and a step gathers, normalises, goes forward and back, and updates.
"""

import statistics
import time

import jax
import numpy as np
from benchmarks import problems

from dlcore import scale, training
from dlcore.data import indices
from dlcore.errors import UserError
from dlcore.training import state as states

STEPS = 100


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
  torch.set_num_threads(len(_cores()))
  nchw, nhwc = torch.contiguous_format, torch.channels_last
  results = {}
  for name, ours, theirs, layout in (
    ("mlp", problems.mlp, _torch_mlp, nchw),
    ("cnn", problems.cnn, _torch_cnn, nchw),
    ("cnn, PyTorch in channels_last", problems.cnn, _torch_cnn, nhwc),
  ):
    source = problems.images()
    model = theirs(torch).to(memory_format=layout)
    runs = (_dlcore(ours(), source), _torch(model, source, torch, layout))
    rows = [[run() for run in runs] for _ in range(repeats + 1)][1:]
    results[name] = {
      "dlcore_ms": statistics.median(row[0] for row in rows),
      "torch_ms": statistics.median(row[1] for row in rows),
      "ratio": statistics.median(row[1] / row[0] for row in rows),
      "least": min(row[1] / row[0] for row in rows),
      "most": max(row[1] / row[0] for row in rows),
    }
  versions = {"jax": jax.__version__, "torch": torch.__version__}
  return {"threads": len(_cores()), **versions, **results}


def _cores() -> list[int]:
  import os

  return sorted(os.sched_getaffinity(0))


def _batches() -> list[np.ndarray]:
  size = problems.images().size
  return [indices(0, i, size, problems.BATCH) for i in range(STEPS)]


def _dlcore(task, source):
  parallel = scale.data_parallel(problems.BATCH, devices=jax.devices()[:1])
  tx = problems.optimizer()
  dataset = parallel.replicate(dict(source.arrays))
  batches = _batches()
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
    return (time.perf_counter() - begun) / STEPS * 1e3

  return measure


def _torch(model, source, torch, layout):
  images = torch.from_numpy(source.arrays["image"].transpose(0, 3, 1, 2).copy())
  labels = torch.from_numpy(source.arrays["label"]).long()
  batches = [torch.from_numpy(batch.astype(np.int64)) for batch in _batches()]
  tx = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
  criterion = torch.nn.CrossEntropyLoss()
  model.train()

  def measure() -> float:
    begun = time.perf_counter()
    for batch in batches:
      inputs = (images[batch].float() / 255 - 0.5) / 0.29
      inputs = inputs.contiguous(memory_format=layout)
      loss = criterion(model(inputs), labels[batch])
      tx.zero_grad(set_to_none=True)
      loss.backward()
      tx.step()
    return (time.perf_counter() - begun) / STEPS * 1e3

  return measure


def _torch_mlp(torch):
  nn = torch.nn
  return nn.Sequential(
    nn.Flatten(),
    nn.Linear(784, 256),
    nn.ReLU(),
    nn.Linear(256, 128),
    nn.ReLU(),
    nn.Linear(128, 10),
  )


def _torch_cnn(torch):
  nn = torch.nn
  return nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1, bias=False),
    nn.MaxPool2d(2),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.Conv2d(16, 32, 3, padding=1, bias=False),
    nn.MaxPool2d(2),
    nn.BatchNorm2d(32),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(32 * 49, 64),
    nn.ReLU(),
    nn.Linear(64, 10),
  )

"""The same training steps in dlcore and in PyTorch.

Sizes, batch, float32, optimizer and threads are the same. The data is in
memory, and a step gathers and normalizes a batch, computes the gradient and
applies AdamW, in PyTorch the fused one. The layout of PyTorch's images is part
of the name. Language models start with the same weights, and the losses of the
first steps have to be the same.

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
from benchmarks.peer_steps import Peer, steps_of_dlcore, steps_of_torch

from dlcore import backend, data
from dlcore.errors import UserError, lookup

ONLY = flags.DEFINE_list("only", [], "the models to compare, all by default")
PROCESSES = flags.DEFINE_integer("processes", 3, "processes for each model")


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
  "lstm lm": Peer(
    problems.lstm_lm,
    torch_models.lstm_lm,
    problems.text(64),
    32,
    20,
    order=data.sequential,
    module=problems.lstm_of_characters,
    family="torch/lstm",
  ),
  "gpt2 lm": Peer(
    problems.gpt2_lm,
    torch_models.gpt2_lm,
    problems.text(256),
    32,
    4,
    module=problems.gpt2_of_characters,
    family="gpt2",
  ),
}

MAX_DIFFERENCE = 1e-4
"""Of the losses of the first steps with the same weights, relative. Rounding
grows from update to update."""


def measure(repeats: int) -> dict:
  """Returns the comparison of each model, and its machine and versions.

  `dlcore_ms` and `torch_ms` are milliseconds a step, `ratio` is PyTorch over
  dlcore, `dlcore_faults` and `torch_faults` are page faults a step. Language
  models also have `loss_difference`, the largest relative difference of the
  losses of the first steps.

  Raises:
    UserError: PyTorch is not installed, or there is no such model.
    ValueError: the libraries differ in the losses of a language model.
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
  for key in {"most", "loss_difference"} & merged.keys():
    merged[key] = max(result[key] for result in results)
  return merged


def _compare(peer: Peer, repeats: int, torch) -> dict:
  """Alternates measurements of both libraries, after one of each to warm up."""
  torch.set_num_threads(_num_threads())
  source = peer.source()
  runs = (steps_of_dlcore(peer, source), steps_of_torch(peer, source, torch))
  first = [[float(loss) for loss in run()] for run in runs]
  rows = [[_measure_step(run) for run in runs] for _ in range(repeats)]
  ours, theirs = zip(*rows, strict=True)
  ratios = [b.milliseconds / a.milliseconds for a, b in rows]
  result = {
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
  if peer.module:
    result["loss_difference"] = _difference(*first)
  return result


def _difference(ours: Sequence[float], theirs: Sequence[float]) -> float:
  """Returns the largest relative difference of losses that should be equal.

  Raises:
    ValueError: it is larger than `MAX_DIFFERENCE`.
  """
  difference = np.abs(np.subtract(ours, theirs)).max() / np.abs(theirs).max()
  if not difference <= MAX_DIFFERENCE:
    raise ValueError(
      f"expected the same losses of the same weights, got {ours} and {theirs}"
    )
  return float(difference)


class Step(NamedTuple):
  """A measured step."""

  milliseconds: float
  faults: float
  """Page faults."""


def _measure_step(run: Callable[[], Sequence]) -> Step:
  """Measures a function that makes steps and returns their losses."""
  faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  start = time.perf_counter()
  steps = len(run())
  seconds = time.perf_counter() - start
  faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
  return Step(seconds / steps * 1e3, faults / steps)

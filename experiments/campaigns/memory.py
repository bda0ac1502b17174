"""Compares the memory estimate of `fit` with the measured peak of its process.

  memory.py
  memory.py --only=resnet18,gpt2

A process for each model trains a few steps on the CPU; its peak is counted from
the moment at which the programs are compiled. Compilation itself is excluded:
a first process fills the cache of compiled programs.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

os.environ["JAX_PLATFORMS"] = "cpu"

import flax.linen as nn
import numpy as np
from absl import flags
from peak_memory import process_memory, reset_peak

from dlcore import command, data, losses, models, optim, tasks, training
from dlcore.provenance import provenance
from dlcore.task import Task
from dlcore.training import memory_estimate
from dlcore.training.state_initializer import StateInitializer

IMAGES, TOKENS, TEXT, PAIRS = "image", "input_ids", "text", "pairs"
"""Images or token ids with a class, or token ids to be predicted, in one text
or in the translation of another."""

CASES = {
  "mlp": ({"widths": (4096, 4096)}, IMAGES, 32, 64),
  "mlp small": ({"widths": (64,)}, IMAGES, 8, 64),
  "lenet5": ({}, IMAGES, 32, 256),
  "cnn": ({}, IMAGES, 32, 128),
  "resnet18": ({}, IMAGES, 64, 32),
  "resnet50": ({}, IMAGES, 64, 8),
  "wide_resnet28_10": ({}, IMAGES, 32, 8),
  "vgg11": ({}, IMAGES, 32, 32),
  "convnext_tiny": ({}, IMAGES, 64, 8),
  "efficientnet_lite0": ({}, IMAGES, 64, 16),
  "mixer": ({}, IMAGES, 32, 16),
  "vit_tiny": ({}, IMAGES, 224, 4),
  "lstm": ({"vocab_size": 5000, "width": 256}, TOKENS, 100, 64),
  "gru": ({"vocab_size": 5000, "width": 256}, TOKENS, 100, 64),
  "bert_base": ({"vocab_size": 30522}, TOKENS, 32, 4),
  "gpt2": ({}, TEXT, 32, 4),
  "smollm_135m": ({}, TEXT, 32, 4),
  "seq2seq": ({}, PAIRS, 32, 32),
  "transformer_base": ({"vocab_size": 8000}, PAIRS, 32, 16),
}
"""Settings, kind of input, its length or its height and width, batch size. The
first word of a name is the model."""

STEPS = 4

ONLY = flags.DEFINE_list("only", [], "the cases to measure (default: all)")
CASE = flags.DEFINE_string("case", "", "measures one case in this process")
OUTPUT = flags.DEFINE_string(
  "output", "experiments/results/memory.json", "the file of the results"
)


def main():
  """Measures every case in a process of its own."""
  if CASE.value:
    print(json.dumps(measure(CASE.value)))
    return
  rows = {name: run(name) for name in ONLY.value or CASES}
  result = {**provenance(Path(__file__).parent), "cases": rows}
  Path(OUTPUT.value).write_text(json.dumps(result, indent=1) + "\n")
  print(json.dumps(result))


def run(name: str) -> dict[str, float]:
  """Returns the result of `measure` in another process."""
  arguments = [sys.executable, __file__, f"--case={name}"]
  for _ in range(2):
    result = subprocess.run(
      arguments, stdout=subprocess.PIPE, text=True, check=True
    )
  row = json.loads(result.stdout.splitlines()[-1])
  print(name, row, file=sys.stderr, flush=True)
  return row


def measure(name: str) -> dict[str, float]:
  """Returns bytes: `estimate` of compiled programs, `preview` and `peak`."""
  settings, kind, size, batch_size = CASES[name]
  task = make_task(name.split()[0], settings, kind)
  train = data.from_arrays(examples(kind, size, 2 * batch_size))
  tx = optim.create("adamw", learning_rate=1e-4, clip_norm=1.0)
  preview = training.preview_memory(task, tx, train, batch_size=batch_size)
  estimates, before = [], []
  check = memory_estimate.MemoryEstimate.check
  restore_or_init = StateInitializer.restore_or_init

  def record(self, *arguments):
    estimates.append(self.needed)
    return check(self, *arguments)

  def allocate(self, saved):
    before.append(reset_peak())
    return restore_or_init(self, saved)

  with (
    mock.patch.object(memory_estimate.MemoryEstimate, "check", record),
    mock.patch.object(StateInitializer, "restore_or_init", allocate),
    tempfile.TemporaryDirectory() as workdir,
  ):
    training.fit(
      task,
      tx,
      train,
      steps=STEPS,
      batch_size=batch_size,
      workdir=workdir,
      progress=False,
      checkpoint_every=2,
    )
  peak = process_memory("VmHWM") - before[0]
  return {"estimate": estimates[1], "preview": preview.needed, "peak": peak}


class Translation(nn.Module):
  """Calls a translation model with the source as its target."""

  model: nn.Module

  @nn.compact
  def __call__(self, x, *, train):
    """Maps ids `[B, T]` to logits `[B, T, V]`."""
    return self.model(x, decoder_input_ids=x, train=train)


def make_task(name: str, settings: Mapping[str, Any], kind: str) -> Task:
  """Returns the task of a model: a class, or all token ids."""
  if kind in (IMAGES, TOKENS):
    model = models.create(name, num_classes=10, **settings)
    return tasks.classification(model, input=kind)
  model = models.create(name, **settings)

  def loss(logits, batch):
    return losses.softmax_cross_entropy(logits, batch[TOKENS])

  return tasks.make_task(
    Translation(model) if kind == PAIRS else model,
    input=TOKENS,
    loss=loss,
    metrics=lambda logits, batch: {"loss": loss(logits, batch)},
    predict=lambda logits: {"token": logits.argmax(-1)},
    output_shape=("B", "T", "V"),
  )


def examples(kind: str, size: int, count: int) -> dict[str, np.ndarray]:
  """Returns arrays of random examples with labels."""
  generator = np.random.default_rng(0)
  if kind == IMAGES:
    inputs = generator.integers(0, 256, (count, size, size, 3)).astype(np.uint8)
  else:
    inputs = generator.integers(0, 5000, (count, size)).astype(np.int32)
  labels = np.arange(count, dtype=np.int32) % 10
  return {IMAGES if kind == IMAGES else TOKENS: inputs, "label": labels}


if __name__ == "__main__":
  command.run(main)

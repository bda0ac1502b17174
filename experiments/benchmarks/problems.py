"""The problems that are measured: sizes of MNIST, values at random."""

import numpy as np

from dlcore import data, models, optim, tasks
from dlcore.task import Task

BATCH = 128


def images(count: int = 8192) -> data.Source:
  """Returns uint8 images `[N, 28, 28, 1]` of ten classes."""
  generator = np.random.default_rng(0)
  pixels = generator.integers(0, 256, (count, 28, 28, 1), np.uint8)
  labels = generator.integers(0, 10, count).astype(np.int32)
  about = {
    "name": "random",
    "input": "image",
    "target": "label",
    "normalization": {"mean": [0.5], "std": [0.29]},
  }
  return data.from_arrays({"image": pixels, "label": labels}, about)


def digits() -> data.Source:
  """Returns the training half of the digits."""
  return data.load("digits").train


def mlp() -> Task:
  """Returns MNIST's perceptron, 784-256-128-10."""
  return _task(models.create("mlp", num_classes=10, widths=(256, 128)))


def digits_mlp() -> Task:
  """Returns the perceptron of configs/digits_mlp.py, without dropout."""
  return _task(models.create("mlp", num_classes=10, widths=(128, 128)))


def mnist_cnn() -> Task:
  """Returns the network of configs/mnist_cnn.py."""
  return _task(
    models.create("cnn", num_classes=10, stages=((24,), (48,)), dropout=0.3)
  )


def cnn() -> Task:
  """Returns the network of configs/mnist_fast.py."""
  return _task(
    models.create("cnn", num_classes=10, stages=((16,), (32,)), dense=(64,))
  )


def optimizer():
  """Returns AdamW as PyTorch's default has it."""
  return optim.create("adamw", learning_rate=1e-3, weight_decay=1e-2)


def _task(model) -> Task:
  normalization = {"mean": [0.5], "std": [0.29]}
  return tasks.classification(model, normalization=normalization)

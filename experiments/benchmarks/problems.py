"""The problems that are measured: usual sizes, values at random."""

from collections.abc import Callable

import numpy as np

from dlcore import data, models, optim, tasks
from dlcore.task import Task

BATCH = 128
NORMALIZATION = {"mean": [0.5], "std": [0.29]}


def images(count: int = 8192) -> data.Source:
  """Returns uint8 images `[N, 28, 28, 1]` of ten classes."""
  return _random("image", (count, 28, 28, 1), 256, np.uint8)


def photos(count: int = 1024) -> data.Source:
  """Returns uint8 images `[N, 32, 32, 3]` of ten classes."""
  return _random("image", (count, 32, 32, 3), 256, np.uint8)


def texts(count: int = 1024) -> data.Source:
  """Returns int32 ids `[N, 100]` of 1,000 words, in ten classes."""
  return _random("input_ids", (count, 100), 1000, np.int32)


def digits() -> data.Source:
  """Returns the training half of the digits."""
  return data.load("digits").train


def mlp() -> Task:
  """Returns MNIST's perceptron, 784-256-128-10."""
  return _of_images("mlp", widths=(256, 128))


def digits_mlp() -> Task:
  """Returns the perceptron of configs/digits_mlp.py, without dropout."""
  return _of_images("mlp", widths=(128, 128))


def mnist_cnn() -> Task:
  """Returns the network of configs/mnist_cnn.py."""
  return _of_images("cnn", stages=((24,), (48,)), dropout=0.3)


def cnn() -> Task:
  """Returns the network of configs/mnist_fast.py."""
  return _of_images("cnn", stages=((16,), (32,)), dense=(64,))


def resnet18() -> Task:
  """Returns ResNet-18 with the 3x3 stem for small images."""
  return _of_images("resnet18", stem="small")


def vit_tiny() -> Task:
  """Returns ViT-tiny of patches of 8 pixels, 17 tokens of 32x32."""
  return _of_images("vit_tiny", patch=8)


def recurrent(name: str) -> Callable[[], Task]:
  """Returns what makes a classifier of texts by one layer, 128 wide."""
  return lambda: _of_texts(name, width=128)


def transformer() -> Task:
  """Returns BERT of 4 layers and 4 heads, 128 wide, for 100 tokens."""
  return _of_texts(
    "bert_base",
    head="classifier",
    width=128,
    depth=4,
    heads=4,
    length=100,
    token_types=0,
  )


def optimizer():
  """Returns AdamW as PyTorch's default has it."""
  return optim.create("adamw", learning_rate=1e-3, weight_decay=1e-2)


def _random(name, shape, below, dtype) -> data.Source:
  generator = np.random.default_rng(0)
  inputs = generator.integers(0, below, shape, dtype)
  labels = generator.integers(0, 10, shape[0]).astype(np.int32)
  about = {"name": "random", "input": name, "target": "label"}
  if name == "image":
    about["normalization"] = NORMALIZATION
  return data.from_arrays({name: inputs, "label": labels}, about)


def _of_images(name: str, **settings) -> Task:
  model = models.create(name, num_classes=10, **settings)
  return tasks.classification(model, normalization=NORMALIZATION)


def _of_texts(name: str, **settings) -> Task:
  model = models.create(name, num_classes=10, vocabulary=1000, **settings)
  return tasks.classification(model, input="input_ids")

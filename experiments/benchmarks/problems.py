"""Benchmark problems: common model sizes and random data."""

from collections.abc import Callable

import numpy as np

from dlcore import data, models, optim, tasks
from dlcore.task import Task

BATCH = 128
NORMALIZATION = {"mean": [0.5], "std": [0.29]}
"""Of the tasks, for all channels alike."""

CHARACTERS = 96
"""Number of different tokens of `text`."""


def images(count: int = 8192) -> data.Source:
  """Returns uint8 images `[N, 28, 28, 1]` of ten classes."""
  return _random("image", (count, 28, 28, 1), 256, np.uint8)


def photos(count: int = 1024) -> data.Source:
  """Returns uint8 images `[N, 32, 32, 3]` of ten classes."""
  return _random("image", (count, 32, 32, 3), 256, np.uint8)


def sequences(count: int = 1024) -> data.Source:
  """Returns int32 token ids `[N, 100]` below 1,000, in ten classes."""
  return _random("input_ids", (count, 100), 1000, np.int32)


def text(length: int) -> Callable[[], data.Source]:
  """Returns a function that creates rows of a random text, one after another.

  A row has int32 `input_ids` `[T]` and `labels` `[T]`, the next token of each.

  Args:
    length: of a row, T.
  """

  def make() -> data.Source:
    generator = np.random.default_rng(0)
    tokens = generator.integers(0, CHARACTERS, 2048 * length + 1, np.int32)
    rows = {"input_ids": tokens[:-1], "labels": tokens[1:]}
    return data.from_arrays(
      {name: array.reshape(-1, length) for name, array in rows.items()},
      name="random",
      target="labels",
    )

  return make


def digits() -> data.Source:
  """Returns the training half of the digits."""
  return data.load("digits").train


def mlp() -> Task:
  """Returns a perceptron for MNIST, 784-256-128-10."""
  return _image_task("mlp", widths=(256, 128))


def digits_mlp() -> Task:
  """Returns the perceptron of configs/digits_mlp.py, without dropout."""
  return _image_task("mlp", widths=(128, 128))


def mnist_cnn() -> Task:
  """Returns the network of configs/mnist_cnn.py."""
  return _image_task("cnn", stages=((24,), (48,)), dropout=0.3)


def cnn() -> Task:
  """Returns the network of configs/mnist_fast.py."""
  return _image_task("cnn", stages=((16,), (32,)), dense=(64,))


def resnet18() -> Task:
  """Returns ResNet-18 with the 3x3 stem for small images."""
  return _image_task("resnet18", stem="small")


def vit_tiny() -> Task:
  """Returns ViT-tiny with patches of 8 pixels, 17 tokens for 32x32."""
  return _image_task("vit_tiny", patch_size=8)


def recurrent(name: str) -> Callable[[], Task]:
  """Returns a function that creates a classifier with one layer of 128."""
  return lambda: _token_task(name, width=128)


def transformer() -> Task:
  """Returns BERT with 4 layers, 4 heads and width 128, for 100 tokens."""
  return _token_task(
    "bert_base",
    head="classifier",
    width=128,
    depth=4,
    num_heads=4,
    max_length=100,
    num_token_types=0,
  )


def lstm_of_characters():
  """Returns the LSTM of configs/docs_lm.py, without dropout."""
  return models.create("lstm", head="lm", vocab_size=CHARACTERS, width=256)


def gpt2_of_characters():
  """Returns the GPT-2 of configs/docs_lm.py:gpt2, without dropout."""
  return models.create(
    "gpt2",
    vocab_size=CHARACTERS,
    width=192,
    depth=4,
    num_heads=6,
    max_length=256,
  )


def lstm_lm() -> Task:
  """Returns a language model whose state continues from row to row."""
  return tasks.language_model(lstm_of_characters(), carry=True)


def gpt2_lm() -> Task:
  """Returns a language model of separate rows."""
  return tasks.language_model(gpt2_of_characters())


def optimizer():
  """Returns AdamW with the defaults of PyTorch."""
  return optim.create("adamw", learning_rate=1e-3, weight_decay=1e-2)


def _random(name, shape, below, dtype) -> data.Source:
  generator = np.random.default_rng(0)
  inputs = generator.integers(0, below, shape, dtype)
  labels = generator.integers(0, 10, shape[0]).astype(np.int32)
  return data.from_arrays(
    {name: inputs, "label": labels},
    name="random",
    classes=tuple(map(str, range(10))),
  )


def _image_task(name: str, **settings) -> Task:
  model = models.create(name, num_classes=10, **settings)
  return tasks.classification(model, normalization=NORMALIZATION)


def _token_task(name: str, **settings) -> Task:
  model = models.create(name, num_classes=10, vocab_size=1000, **settings)
  return tasks.classification(model, input="input_ids")

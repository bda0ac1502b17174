"""Problems that need a long memory, and models to learn them.

The adding problem: one input is a series of numbers from 0 to 1, the other one
marks two of them, one in each half; the target is their sum (Hochreiter &
Schmidhuber 1997, "Long short-term memory", in the form of Le et al. 2015,
arXiv:1504.00941). Delayed copying: three symbols, a delay, and a signal to
repeat the symbols (Arjovsky et al. 2016, arXiv:1511.06464, who copy ten).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dlcore import data, models, tasks
from dlcore.data.info import IGNORED
from dlcore.layers import Attention, FeedForward, LayerNorm, sinusoidal
from dlcore.models.transformer_block import TransformerBlock
from dlcore.task import Task

SYMBOLS = 8
"""Number of different symbols of delayed copying."""

COPIED = 3
"""Number of symbols to copy."""


class Problem(NamedTuple):
  """A learning problem for any length of its series."""

  make: Callable[..., data.Source]
  """`(length, size, seed) -> source` of series `features` `[N, T, F]`."""

  task: Callable[[Any], Task]
  """`model -> task`."""

  outputs: dict[str, Any]
  """Settings of a model: its head and the number of its outputs."""

  error: Callable[[dict[str, float]], float]
  """`metrics -> error`."""

  trivial: float
  """The error of the best answer that does not depend on the input."""


def adding(length: int, size: int, seed: int) -> data.Source:
  """Returns examples of the adding problem.

  Args:
    length: of the series, T, at least 2.
    size: number of examples, N.
    seed: examples are a function of all arguments.

  Returns:
    A source of `features`, float32 `[N, T, 2]`, the numbers and the marks, and
    `target`, float32 `[N]`.
  """
  generator = np.random.default_rng((seed, length, size))
  numbers = generator.random((size, length), np.float32)
  rows = np.arange(size)
  first = generator.integers(0, length // 2, size)
  second = generator.integers(length // 2, length, size)
  marks = np.zeros_like(numbers)
  marks[rows, first] = marks[rows, second] = 1
  return data.from_arrays(
    {
      "features": np.stack([numbers, marks], axis=-1),
      "target": numbers[rows, first] + numbers[rows, second],
    },
    name=f"adding {length}",
  )


def copying(length: int, size: int, seed: int) -> data.Source:
  """Returns examples of delayed copying.

  Args:
    length: of the series, T, at least twice `COPIED`. A symbol is repeated
      `T - COPIED` steps after it was shown.
    size: number of examples, N.
    seed: examples are a function of all arguments.

  Returns:
    A source of `features`, uint8 `[N, T, SYMBOLS + 2]`: a symbol, a pause or
    the signal as one-hot vectors; and `labels`, int32 `[N, T]`, the symbols in
    the last steps.
  """
  generator = np.random.default_rng((seed, length, size))
  symbols = generator.integers(0, SYMBOLS, (size, COPIED), np.int32)
  ids = np.full((size, length), SYMBOLS)
  ids[:, :COPIED], ids[:, -COPIED:] = symbols, SYMBOLS + 1
  labels = np.full((size, length), IGNORED, np.int32)
  labels[:, -COPIED:] = symbols
  return data.from_arrays(
    {"features": np.eye(SYMBOLS + 2, dtype=np.uint8)[ids], "labels": labels},
    name=f"copying {length}",
    target="labels",
  )


PROBLEMS = {
  "adding": Problem(
    adding,
    partial(tasks.regression, input="features"),
    {"head": "classifier", "num_classes": 1},
    lambda metrics: metrics["loss"],
    # The variance of the sum of two uniform numbers.
    1 / 6,
  ),
  "copying": Problem(
    copying,
    partial(tasks.tagging, input="features"),
    {"head": "tokens", "num_classes": SYMBOLS},
    lambda metrics: 1 - metrics["accuracy"],
    1 - 1 / SYMBOLS,
  ),
}
"""The mean squared error of the sum, and the share of wrong symbols."""


class SeriesTransformer(nn.Module):
  """A causal transformer of series, as the recurrent models of dlcore.

  Attributes:
    num_classes: number of outputs, C.
    head: "classifier" of the last step, or "tokens" for all steps.
    width: D.
    depth: number of blocks.
    num_heads: number of attention heads.
  """

  num_classes: int
  head: str
  width: int
  depth: int = 1
  num_heads: int = 1

  @nn.compact
  def __call__(self, x, *, train):
    """Maps `[B, T, F]` to `[B, C]` or `[B, T, C]`."""
    x = nn.Dense(self.width)(x) + sinusoidal(x.shape[1], self.width)
    for _ in range(self.depth):
      block = TransformerBlock(
        attention=partial(Attention, self.num_heads),
        feedforward=partial(FeedForward, 4 * self.width),
        norm=LayerNorm,
      )
      x, _ = block(x, causal=True, train=train)
    x = LayerNorm()(x)
    return nn.Dense(self.num_classes)(x if self.head == "tokens" else x[:, -1])


MODELS: dict[str, Callable[..., nn.Module]] = {
  "rnn": partial(models.create, "rnn", width=96),
  "lstm": partial(models.create, "lstm", width=48),
  "gru": partial(models.create, "gru", width=56),
  "transformer": partial(SeriesTransformer, width=28),
}
"""Models of about 10,000 parameters by name."""


def gradient_norms(model: nn.Module, variables: Any, inputs: Any) -> np.ndarray:
  """Returns the gradient of the last output by the distance to the input.

  Args:
    model: maps series to one number, `[B, 1]`.
    variables: of the model.
    inputs: float `[B, T, F]`.

  Returns:
    float32 `[T]`: the norm of the gradient with respect to the input of a
    step, its mean over the examples; the last step, of distance 0, is first.
  """

  def total(x):
    return jnp.sum(model.apply(variables, x, train=False))

  norms = jnp.linalg.norm(jax.grad(total)(inputs), axis=-1)
  return np.asarray(norms.mean(0)[::-1])

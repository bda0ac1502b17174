"""A convolutional network of stages: convolutions, then pooling."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import lookup
from dlcore.layers import (
  ACTIVATIONS,
  INITIALIZERS,
  Conv,
  Dropout,
  avg_pool,
  max_pool,
  remat,
)
from dlcore.models import checks
from dlcore.models.common import batch_norm, flat, logits, noted
from dlcore.typing import Array

POOLINGS = {"avg": avg_pool, "max": max_pool}


class CNN(nn.Module):
  """Stacks stages of convolutions, halves the image after each, and decides.

  A layer is convolution, pooling (the last layer of a stage), batch norm,
  activation: pooling first spares the others three quarters of their work.

  Attributes:
    num_classes: width of the output (1 in regression).
    stages: channels of the convolutions of each stage.
    kernel_size: rows and columns of every kernel.
    pooling: "max" or "avg", over 2x2 pixels.
    batch_norm: whether to normalise (the convolutions then have no bias).
    activation: a name of `ACTIVATIONS`.
    initializer: a name of `INITIALIZERS`, for the kernels.
    pool: what the dense layers see: "flatten", all of the last stage, or
      "mean": it ends in an average over the whole image instead of its pooling.
    dense: widths of the dense layers before the output.
    dropout: rate before the output layer, a number or a traced scalar.
    head: "classifier", or None to return the features.
    remat: whether the backward pass computes layers again, to save memory.
    dtype: of the arithmetic; parameters and output are float32.
    axis_name: of the mapped axis that batch statistics are averaged over.
  """

  num_classes: int | None = None
  stages: tuple[tuple[int, ...], ...] = ((16,), (32,))
  kernel_size: int = 3
  pooling: str = "max"
  batch_norm: bool = True
  activation: str = "relu"
  initializer: str = "he"
  pool: str = "flatten"
  dense: tuple[int, ...] = (64,)
  dropout: float | Array = 0.0
  head: str | None = "classifier"
  remat: bool = False
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x: Array, *, train: bool, intermediates: bool = False):
    """Maps images `[B, Y, X, C]` to float32 `[B, num_classes]`.

    Without a head the result is the pair of the last stage's output
    `[B, Y', X', D]` and its average `[B, D]`. With `intermediates` a dict goes
    with it: `hidden_states`, the images and what leaves each stage.
    """
    self._check(x)
    pool = lookup(POOLINGS, self.pooling, "pooling")
    activation = lookup(ACTIVATIONS, self.activation, "activation")
    kernel_init = lookup(INITIALIZERS, self.initializer, "initializer")
    conv = partial(
      Conv,
      kernel_size=(self.kernel_size, self.kernel_size),
      use_bias=not self.batch_norm,
      dtype=self.dtype,
      kernel_init=kernel_init,
    )
    norm = batch_norm(self, train=train)

    def convolve(self, x, layer: int, width: int, pooled: bool):
      x = conv(width, name=f"conv_{layer}")(x)
      x = pool(x, (2, 2), strides=(2, 2)) if pooled else x
      x = norm(name=f"norm_{layer}")(x) if self.batch_norm else x
      return activation(x)

    states = [x.astype(self.dtype)]
    layer = 0
    for stage, widths in enumerate(self.stages):
      x = states[-1]
      global_average = self.pool == "mean" and stage == len(self.stages) - 1
      for i, width in enumerate(widths):
        pooled = i == len(widths) - 1 and not global_average
        block = partial(convolve, layer=layer, width=width, pooled=pooled)
        x = remat(block, self.remat)(self, x)
        layer += 1
      states.append(x)
    dense = partial(nn.Dense, dtype=self.dtype, kernel_init=kernel_init)
    output = self._output(states[-1], dense, activation, train)
    return noted(output, states, intermediates)

  def _output(self, x: Array, dense, activation, train: bool):
    if self.head is None:
      return x, x.mean((1, 2))
    x = x.mean((1, 2)) if self.pool == "mean" else flat(x)
    checks.inputs(self, x.shape[-1], "dense_0" if self.dense else "head")
    for i, width in enumerate(self.dense):
      x = activation(dense(width, name=f"dense_{i}")(x))
    x = Dropout(self.dropout, name="dropout")(x, train=train)
    return logits(self, self.num_classes)(x)

  def _check(self, x: Array) -> None:
    checks.settings(self)
    checks.at_least(
      1,
      stages=self.stages,
      kernel_size=self.kernel_size,
      dense=self.dense,
    )
    checks.stages(self.stages)
    lookup({"flatten": 0, "mean": 0}, self.pool, "pool")
    checks.head(self, "classifier")
    checks.images(x, minimum=2 ** (len(self.stages) - (self.pool == "mean")))

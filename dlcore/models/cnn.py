"""A convolutional network of stages: convolutions, then pooling."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import UserError, lookup
from dlcore.layers import (
  ACTIVATIONS,
  INITIALIZERS,
  Conv,
  Dropout,
  avg_pool,
  max_pool,
  remat,
)
from dlcore.models.checks import at_least, images, rate
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
    head: "flatten", or "mean": the last stage ends in an average over the
      whole image instead of its pooling.
    dense: widths of the dense layers before the output.
    dropout: rate before the output layer, a number or a traced scalar.
    remat: whether the backward pass computes layers again, to save memory.
    dtype: of the arithmetic; parameters and output are float32.
    axis_name: of the mapped axis that batch statistics are averaged over.
  """

  num_classes: int
  stages: tuple[tuple[int, ...], ...] = ((16,), (32,))
  kernel_size: int = 3
  pooling: str = "max"
  batch_norm: bool = True
  activation: str = "relu"
  initializer: str = "he"
  head: str = "flatten"
  dense: tuple[int, ...] = (64,)
  dropout: float | Array = 0.0
  remat: bool = False
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Maps images `[B, Y, X, C]` to float32 `[B, num_classes]`."""
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
    norm = partial(
      nn.BatchNorm,
      use_running_average=not train,
      momentum=0.9,
      dtype=self.dtype,
      axis_name=self.axis_name,
    )

    def convolve(self, x, layer: int, width: int, pooled: bool):
      x = conv(width, name=f"conv_{layer}")(x)
      x = pool(x, (2, 2), strides=(2, 2)) if pooled else x
      x = norm(name=f"norm_{layer}")(x) if self.batch_norm else x
      return activation(x)

    x = x.astype(self.dtype)
    layer = 0
    for stage, widths in enumerate(self.stages):
      global_average = self.head == "mean" and stage == len(self.stages) - 1
      for i, width in enumerate(widths):
        pooled = i == len(widths) - 1 and not global_average
        block = partial(convolve, layer=layer, width=width, pooled=pooled)
        x = remat(block, self.remat)(self, x)
        layer += 1
    x = x.mean((1, 2)) if self.head == "mean" else x.reshape(x.shape[0], -1)

    for i, width in enumerate(self.dense):
      x = nn.Dense(
        width, dtype=self.dtype, kernel_init=kernel_init, name=f"dense_{i}"
      )(x)
      x = activation(x)
    x = Dropout(self.dropout, name="dropout")(x, train=train)
    x = nn.Dense(self.num_classes, dtype=self.dtype, name="head")(x)
    return x.astype(jnp.float32)

  def _check(self, x: Array) -> None:
    at_least(
      1,
      num_classes=self.num_classes,
      stages=self.stages,
      kernel_size=self.kernel_size,
      dense=self.dense,
    )
    rate(dropout=self.dropout)
    lookup({"flatten": 0, "mean": 0}, self.head, "head")
    if not self.stages or not all(
      isinstance(widths, tuple | list) and widths for widths in self.stages
    ):
      raise UserError(
        "expected stages of at least one convolution each, such as "
        "((16,), (32, 32))",
        f"got {self.stages!r}",
      )
    images(x, minimum=2 ** (len(self.stages) - (self.head == "mean")))

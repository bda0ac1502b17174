"""ConvNeXt: a convolutional network with the proportions of a Transformer.

Liu et al. 2022, arXiv:2201.03545.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import UserError
from dlcore.layers import (
  Conv,
  Dropout,
  LayerNorm,
  StochasticDepth,
  remat,
  stochastic_depth_rate,
)
from dlcore.models import checks
from dlcore.models.common import logits, noted
from dlcore.typing import Array

INITIALIZER = nn.initializers.normal(0.02)
"""The release truncates it at 2, a hundred deviations away."""


class ConvNeXt(nn.Module):
  """Maps images to logits by stages of blocks of depthwise convolutions.

  Attributes:
    num_classes: width of the output (1 in regression).
    depths: the number of blocks of each stage.
    widths: channels of each stage.
    patch_size: rows and columns of the patches that the stem embeds.
    kernel_size: rows and columns of the depthwise kernels.
    layer_scale: what a block's output is multiplied by at first, a learned
      number a channel; 0 leaves this out (Touvron et al. 2021,
      arXiv:2103.17239).
    stochastic_depth: rate at which the last block is skipped; it grows
      linearly from 0 in the first (Huang et al. 2016, arXiv:1603.09382).
    dropout: rate before the output layer. Both rates may be traced scalars.
    eps: added to the variance in the last layer norm; 1e-6 in the others.
    head: "classifier", or None to return the features.
    remat: whether the backward pass computes blocks again, to save memory.
    dtype: of the arithmetic; parameters and output are float32.
  """

  num_classes: int | None = None
  depths: tuple[int, ...] = (3, 3, 9, 3)
  widths: tuple[int, ...] = (96, 192, 384, 768)
  patch_size: int = 4
  kernel_size: int = 7
  layer_scale: float = 1e-6
  stochastic_depth: float | Array = 0.0
  dropout: float | Array = 0.0
  eps: float = 1e-6
  head: str | None = "classifier"
  remat: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, *, train: bool, intermediates: bool = False):
    """Maps images `[B, Y, X, C]` to float32 `[B, num_classes]`.

    Rows and columns that fill no patch are left out. Without a head the
    result is the pair of the last stage's output `[B, Y', X', D]` and the
    layer norm of its average `[B, D]`. With `intermediates` a dict goes with
    it: `hidden_states`, what leaves the stem and each stage.
    """
    self._check(x)
    x = self._patches(x, self.widths[0], self.patch_size, "stem_conv")
    states = [self._norm("stem_norm")(x)]
    count, last = 0, max(sum(self.depths) - 1, 1)
    for stage, (depth, width) in enumerate(
      zip(self.depths, self.widths, strict=True)
    ):
      x = states[-1]
      if stage > 0:
        x = self._norm(f"stage_{stage}_norm")(x)
        x = self._patches(x, width, 2, f"stage_{stage}_conv")
      for i in range(depth):
        block = Block(
          kernel_size=self.kernel_size,
          layer_scale=self.layer_scale,
          skip=stochastic_depth_rate(self.stochastic_depth, count / last),
          dtype=self.dtype,
          name=f"stage_{stage}_block_{i}",
        )
        run = partial(Block.__call__, train=train)
        x = remat(run, self.remat)(block, x)
        count += 1
      states.append(x)
    output = self._output(states[-1], train)
    return noted(output, states, intermediates)

  def _patches(self, x: Array, width: int, size: int, name: str) -> Array:
    """Maps squares of `size` pixels to `width` channels each."""
    return Conv(
      width,
      kernel_size=(size, size),
      strides=(size, size),
      padding="VALID",
      dtype=self.dtype,
      kernel_init=INITIALIZER,
      name=name,
    )(x)

  def _norm(self, name: str, eps: float = 1e-6) -> nn.LayerNorm:
    return LayerNorm(epsilon=eps, dtype=self.dtype, name=name)

  def _output(self, x: Array, train: bool):
    pooled = self._norm("norm", self.eps)(x.mean((1, 2)))
    if self.head is None:
      return x, pooled
    x = Dropout(self.dropout, name="dropout")(pooled, train=train)
    return logits(self, self.num_classes, kernel_init=INITIALIZER)(x)

  def _check(self, x: Array) -> None:
    checks.settings(self)
    checks.at_least(
      1,
      depths=self.depths,
      widths=self.widths,
      patch_size=self.patch_size,
      kernel_size=self.kernel_size,
    )
    if not self.depths or len(self.depths) != len(self.widths):
      raise UserError(
        "expected depths and widths of the same stages",
        f"got depths={self.depths}, widths={self.widths}",
      )
    checks.head(self, "classifier")
    checks.images(x, minimum=self.patch_size * 2 ** (len(self.depths) - 1))


class Block(nn.Module):
  """A depthwise convolution and two dense layers beside a shortcut (fig. 4)."""

  kernel_size: int = 7
  layer_scale: float = 1e-6
  skip: float | Array = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Maps `[B, Y, X, D]` to the same shape."""
    width, before = x.shape[-1], (self.kernel_size - 1) // 2
    dense = partial(nn.Dense, dtype=self.dtype, kernel_init=INITIALIZER)
    y = Conv(
      width,
      kernel_size=(self.kernel_size, self.kernel_size),
      padding=((before, self.kernel_size - 1 - before),) * 2,
      groups=width,
      dtype=self.dtype,
      kernel_init=INITIALIZER,
      name="depthwise",
    )(x)
    y = LayerNorm(epsilon=1e-6, dtype=self.dtype, name="norm")(y)
    y = dense(4 * width, name="dense_0")(y)
    y = dense(width, name="dense_1")(nn.gelu(y, approximate=False))
    if self.layer_scale:
      initial = nn.initializers.constant(self.layer_scale)
      y *= self.param("layer_scale", initial, (width,)).astype(self.dtype)
    return x + StochasticDepth(self.skip, name="skip")(y, train=train)

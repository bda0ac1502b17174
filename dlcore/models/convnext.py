"""ConvNeXt: a convolutional network with the design of transformers.

Liu et al. 2022, arXiv:2201.03545.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import UserError
from dlcore.layers import (
  Conv,
  LayerNorm,
  StochasticDepth,
  remat,
  stochastic_depth_rate,
)
from dlcore.models.field_checks import check_at_least, check_fields, check_head
from dlcore.models.input_checks import check_images
from dlcore.models.output_layers import classifier_output, with_intermediates
from dlcore.typing import Array

INITIALIZER = nn.initializers.normal(0.02)
"""The release truncates it at 2, which is 100 standard deviations."""


class ConvNeXt(nn.Module):
  """Maps images to logits by stages of blocks of depthwise convolutions.

  Attributes:
    num_classes: number of classes; 1 in regression.
    depths: number of blocks of each stage.
    widths: number of channels of each stage.
    patch_size: rows and columns of the patches of the stem.
    kernel_size: rows and columns of the depthwise kernels.
    layer_scale: initial value of the learned factors of the channels of each
      residual branch; 0 for no factors (Touvron et al. 2021,
      arXiv:2103.17239).
    stochastic_depth: rate of stochastic depth in the last block; it increases
      linearly from 0 in the first block (Huang et al. 2016, arXiv:1603.09382).
    dropout: dropout rate before the output layer. Both rates may be traced
      scalars.
    eps: added to the variance in the last layer norm; 1e-6 in the others.
    head: "classifier", or None to return features.
    remat: whether to rematerialize blocks in the backward pass.
    dtype: dtype of the computation; parameters and logits are float32.
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

    Incomplete patches at the right and bottom edges are discarded. Without a
    head, returns the output of the last stage `[B, Y', X', D]` and the layer
    norm of its average `[B, D]`. With `intermediates`, returns a pair of the
    output and a dict: `hidden_states`, the output of the stem and of each
    stage.
    """
    self._check(x)
    x = self._patches(x, self.widths[0], self.patch_size, "stem_conv")
    states = [self._norm("stem_norm")(x)]
    index, last = 0, max(sum(self.depths) - 1, 1)
    for stage, (depth, width) in enumerate(
      zip(self.depths, self.widths, strict=True)
    ):
      x = states[-1]
      if stage > 0:
        x = self._norm(f"stage_{stage}_norm")(x)
        x = self._patches(x, width, 2, f"stage_{stage}_conv")
      for i in range(depth):
        block = ConvNeXtBlock(
          kernel_size=self.kernel_size,
          layer_scale=self.layer_scale,
          skip_rate=stochastic_depth_rate(self.stochastic_depth, index / last),
          dtype=self.dtype,
          name=f"stage_{stage}_block_{i}",
        )
        run = partial(ConvNeXtBlock.__call__, train=train)
        x = remat(run, self.remat)(block, x)
        index += 1
      states.append(x)
    x = states[-1]
    pooled = self._norm("norm", self.eps)(x.mean((1, 2)))
    output = classifier_output(
      self, x, pooled, train=train, kernel_init=INITIALIZER
    )
    return with_intermediates(output, states, intermediates)

  def _patches(self, x: Array, width: int, size: int, name: str) -> Array:
    """Embeds patches of `size` x `size` pixels in `width` channels."""
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

  def _check(self, x: Array) -> None:
    check_fields(self)
    check_at_least(self, 1, "depths", "widths", "patch_size", "kernel_size")
    if not self.depths or len(self.depths) != len(self.widths):
      raise UserError(
        "expected depths and widths of the same number of stages",
        f"got depths={self.depths}, widths={self.widths}",
      )
    check_head(self, "classifier")
    check_images(x, min_size=self.patch_size * 2 ** (len(self.depths) - 1))


class ConvNeXtBlock(nn.Module):
  """Residual block of a depthwise convolution and two dense layers (fig. 4)."""

  kernel_size: int = 7
  layer_scale: float = 1e-6
  skip_rate: float | Array = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Maps `[B, Y, X, D]` to the same shape."""
    width, padding = x.shape[-1], (self.kernel_size - 1) // 2
    dense = partial(nn.Dense, dtype=self.dtype, kernel_init=INITIALIZER)
    y = Conv(
      width,
      kernel_size=(self.kernel_size, self.kernel_size),
      padding=((padding, self.kernel_size - 1 - padding),) * 2,
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
    return x + StochasticDepth(self.skip_rate, name="skip")(y, train=train)

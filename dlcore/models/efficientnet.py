"""EfficientNet-Lite: inverted residual blocks, scaled in width and depth.

Tan & Le 2019, arXiv:1905.11946. Google's "lite" release of 2020 leaves out
squeeze-and-excitation, has relu6 in place of swish, and scales neither the
stem, the last convolution, nor the depth of the first and the last stage: so
that it runs well in 8 bits on small devices.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import UserError, lookup
from dlcore.layers import (
  Conv,
  Dropout,
  StochasticDepth,
  remat,
  stochastic_depth_rate,
)
from dlcore.models import checks
from dlcore.models.common import batch_norm, logits, noted
from dlcore.typing import Array

BASELINE = (
  (1, 3, 1, 1, 16),
  (2, 3, 2, 6, 24),
  (2, 5, 2, 6, 40),
  (3, 3, 2, 6, 80),
  (3, 5, 1, 6, 112),
  (4, 5, 2, 6, 192),
  (1, 3, 1, 6, 320),
)
"""Table 1 without the stem and the last convolution."""

INITIALIZER = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
DEPTHWISE = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
"""One kernel a channel: there this is what the other one is elsewhere."""


class EfficientNetLite(nn.Module):
  """Maps images to logits by stages of inverted residual blocks.

  Attributes:
    num_classes: width of the output (1 in regression).
    width_factor: multiplies the channels of the stages.
    depth_factor: multiplies the number of blocks of the stages.
    stages: number of blocks, size of the kernel, stride of the first block,
      expansion and channels of each stage, before scaling.
    stem: channels of the first convolution.
    features: channels of the last convolution.
    padding: "same", as TensorFlow pads and Google's weights want it, or
      "symmetric", as PyTorch does.
    eps: added to the variance in batch norm.
    stochastic_depth: rate at which the last block is skipped; it grows
      linearly from 0 in the first (Huang et al. 2016, arXiv:1603.09382).
    dropout: rate before the output layer, 0.2 to 0.3 in the release. Both
      rates may be traced scalars.
    head: "classifier", or None to return the features.
    remat: whether the backward pass computes blocks again, to save memory.
    dtype: of the arithmetic; parameters and output are float32.
    axis_name: of the mapped axis that batch statistics are averaged over.
  """

  num_classes: int | None = None
  width_factor: float = 1.0
  depth_factor: float = 1.0
  stages: tuple[tuple[int, ...], ...] = BASELINE
  stem: int = 32
  features: int = 1280
  padding: str = "same"
  eps: float = 1e-3
  stochastic_depth: float | Array = 0.0
  dropout: float | Array = 0.0
  head: str | None = "classifier"
  remat: bool = False
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x: Array, *, train: bool, intermediates: bool = False):
    """Maps images `[B, Y, X, C]` to float32 `[B, num_classes]`.

    Without a head the result is the pair of the last convolution's output
    `[B, Y', X', features]` and its average `[B, features]`. With
    `intermediates` a dict goes with it: `hidden_states`, what leaves the stem
    and each stage.
    """
    self._check(x)
    layer = self._layer(train)
    stem = layer(self.stem, kernel_size=3, stride=2, name="stem")
    states = [stem(x.astype(self.dtype))]
    depths = self._depths()
    count, last = 0, max(sum(depths) - 1, 1)
    for stage, (_, size, stride, expansion, width) in enumerate(self.stages):
      x = states[-1]
      for i in range(depths[stage]):
        block = Block(
          rounded(width * self.width_factor),
          kernel_size=size,
          stride=stride if i == 0 else 1,
          expansion=expansion,
          layer=layer,
          skip=stochastic_depth_rate(self.stochastic_depth, count / last),
          name=f"stage_{stage}_block_{i}",
        )
        run = partial(Block.__call__, train=train)
        x = remat(run, self.remat)(block, x)
        count += 1
      states.append(x)
    output = self._output(layer(self.features, name="last")(states[-1]), train)
    return noted(output, states, intermediates)

  def _layer(self, train: bool) -> Callable[..., nn.Module]:
    norm = batch_norm(self, train=train, momentum=0.99, eps=self.eps)
    pad = lookup(PADDINGS, self.padding, "padding")
    return partial(Layer, norm=norm, pad=pad, dtype=self.dtype)

  def _depths(self) -> list[int]:
    """Returns the number of blocks of each stage."""
    scaled = [math.ceil(stage[0] * self.depth_factor) for stage in self.stages]
    return [self.stages[0][0], *scaled[1:-1], self.stages[-1][0]]

  def _output(self, x: Array, train: bool):
    pooled = x.mean((1, 2))
    if self.head is None:
      return x, pooled
    x = Dropout(self.dropout, name="dropout")(pooled, train=train)
    uniform = nn.initializers.variance_scaling(1 / 3, "fan_out", "uniform")
    return logits(self, self.num_classes, kernel_init=uniform)(x)

  def _check(self, x: Array) -> None:
    checks.settings(self)
    checks.at_least(
      1,
      stages=self.stages,
      stem=self.stem,
      features=self.features,
    )
    if len(self.stages) < 2 or not all(len(s) == 5 for s in self.stages):
      raise UserError(
        "expected at least two stages of (blocks, kernel size, stride, "
        "expansion, channels)",
        f"got {self.stages!r}",
      )
    checks.head(self, "classifier")
    checks.images(x, minimum=2)


class Block(nn.Module):
  """Widens, convolves each channel by itself, and narrows.

  Sandler et al. 2018, arXiv:1801.04381. The narrow ends have no activation,
  and are joined by a shortcut where their shapes are the same.
  """

  features: int
  kernel_size: int
  stride: int
  expansion: int
  layer: Callable[..., nn.Module]
  skip: float | Array = 0.0

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Maps `[B, Y, X, C]` to `[B, Y / stride, X / stride, features]`."""
    channels = x.shape[-1]
    width = channels * self.expansion
    y = x
    if self.expansion != 1:
      y = self.layer(width, name="expand")(y)
    y = self.layer(
      width,
      kernel_size=self.kernel_size,
      stride=self.stride,
      groups=width,
      name="depthwise",
    )(y)
    y = self.layer(self.features, activation=None, name="project")(y)
    if self.stride != 1 or channels != self.features:
      return y
    return x + StochasticDepth(self.skip, name="skip")(y, train=train)


class Layer(nn.Module):
  """A convolution, batch norm, and relu6 unless told otherwise."""

  features: int
  norm: Callable[..., nn.Module]
  pad: Callable[[int], Any]
  kernel_size: int = 1
  stride: int = 1
  groups: int = 1
  activation: Callable[[Array], Array] | None = jax.nn.relu6
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps `[B, Y, X, C]` to `[B, Y / stride, X / stride, features]`."""
    x = Conv(
      self.features,
      kernel_size=(self.kernel_size, self.kernel_size),
      strides=(self.stride, self.stride),
      padding=self.pad(self.kernel_size),
      groups=self.groups,
      use_bias=False,
      dtype=self.dtype,
      kernel_init=INITIALIZER if self.groups == 1 else DEPTHWISE,
      name="conv",
    )(x)
    x = self.norm(name="norm")(x)
    return x if self.activation is None else self.activation(x)


def rounded(channels: float) -> int:
  """Returns the nearest multiple of 8 that is not below nine tenths."""
  nearest = max(8, int(channels + 4) // 8 * 8)
  return nearest + 8 if nearest < 0.9 * channels else nearest


PADDINGS = {
  "same": lambda size: "SAME",
  "symmetric": lambda size: ((size // 2, size // 2),) * 2,
}

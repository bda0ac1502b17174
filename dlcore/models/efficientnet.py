"""EfficientNet-Lite: inverted residual blocks, scaled in width and depth.

Tan & Le 2019, arXiv:1905.11946. For 8-bit inference on small devices, Google's
"lite" release of 2020 has no squeeze-and-excitation and uses relu6 instead of
swish. It does not scale the stem, the last convolution and the depth of the
first and the last stage.
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
  StochasticDepth,
  remat,
  stochastic_depth_rate,
)
from dlcore.models.batch_norm import make_batch_norm
from dlcore.models.field_checks import (
  check_at_least,
  check_depth,
  check_fields,
  check_head,
)
from dlcore.models.input_checks import check_images
from dlcore.models.output_layers import classifier_output, with_intermediates
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
"""The fan-in of a depthwise kernel corresponds to the fan-out of others."""


class EfficientNetLite(nn.Module):
  """Maps images to logits by stages of inverted residual blocks.

  Attributes:
    num_classes: number of classes; 1 in regression.
    width_factor: multiplies the numbers of channels of the stages.
    depth_factor: multiplies the numbers of blocks of the stages.
    stages: number of blocks, kernel size, stride of the first block, expansion
      factor and number of channels of each stage, before scaling.
    stem: number of channels of the first convolution.
    features: number of channels of the last convolution.
    padding: "same", as in TensorFlow and the weights of Google, or
      "symmetric", as in PyTorch.
    eps: added to the variance in batch norm.
    stochastic_depth: rate of stochastic depth in the last block; it increases
      linearly from 0 in the first block (Huang et al. 2016, arXiv:1603.09382).
    dropout: dropout rate before the output layer, 0.2 to 0.3 in the release.
      Both rates may be traced scalars.
    head: "classifier", or None to return features.
    remat: whether to rematerialize blocks in the backward pass.
    dtype: dtype of the computation; parameters and logits are float32.
    axis_name: mapped axis over which batch statistics are averaged.
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

    Without a head, returns the output of the last convolution
    `[B, Y', X', features]` and its average `[B, features]`. With
    `intermediates`, returns a pair of the output and a dict: `hidden_states`,
    the output of the stem and of each stage.
    """
    self._check(x)
    conv = self._conv(train)
    stem = conv(self.stem, kernel_size=3, stride=2, name="stem")
    states = [stem(x.astype(self.dtype))]
    depths = self._depths()
    index, last = 0, max(sum(depths) - 1, 1)
    for stage, (_, size, stride, expansion, width) in enumerate(self.stages):
      x = states[-1]
      for i in range(depths[stage]):
        block = MBConv(
          round_channels(width * self.width_factor),
          kernel_size=size,
          stride=stride if i == 0 else 1,
          expansion=expansion,
          conv=conv,
          skip_rate=stochastic_depth_rate(self.stochastic_depth, index / last),
          name=f"stage_{stage}_block_{i}",
        )
        run = partial(MBConv.__call__, train=train)
        x = remat(run, self.remat)(block, x)
        index += 1
      states.append(x)
    x = conv(self.features, name="last")(states[-1])
    uniform = nn.initializers.variance_scaling(1 / 3, "fan_out", "uniform")
    output = classifier_output(
      self, x, x.mean((1, 2)), train=train, kernel_init=uniform
    )
    return with_intermediates(output, states, intermediates)

  def _conv(self, train: bool) -> Callable[..., nn.Module]:
    norm = make_batch_norm(self, train=train, momentum=0.99, eps=self.eps)
    pad = lookup(PADDINGS, self.padding, "padding")
    return partial(ConvNormActivation, norm=norm, pad=pad, dtype=self.dtype)

  def _depths(self) -> list[int]:
    """Returns the number of blocks of each stage."""
    scaled = [math.ceil(stage[0] * self.depth_factor) for stage in self.stages]
    return [self.stages[0][0], *scaled[1:-1], self.stages[-1][0]]

  def _check(self, x: Array) -> None:
    check_fields(self)
    check_at_least(self, 1, "stages", "stem", "features")
    if len(self.stages) < 2 or not all(len(s) == 5 for s in self.stages):
      raise UserError(
        "expected at least two stages of (blocks, kernel size, stride, "
        "expansion, channels)",
        f"got {self.stages!r}",
      )
    check_depth("stages times depth_factor", sum(self._depths()))
    check_head(self, "classifier")
    check_images(x, min_size=2)


class MBConv(nn.Module):
  """Inverted residual block: expansion, depthwise convolution, projection.

  Sandler et al. 2018, arXiv:1801.04381. The projection has no activation. The
  block has a residual connection if it preserves the shape.
  """

  features: int
  kernel_size: int
  stride: int
  expansion: int
  conv: Callable[..., nn.Module]
  skip_rate: float | Array = 0.0

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Maps `[B, Y, X, C]` to `[B, Y / stride, X / stride, features]`."""
    channels = x.shape[-1]
    width = channels * self.expansion
    y = x
    if self.expansion != 1:
      y = self.conv(width, name="expand")(y)
    y = self.conv(
      width,
      kernel_size=self.kernel_size,
      stride=self.stride,
      groups=width,
      name="depthwise",
    )(y)
    y = self.conv(self.features, activation=None, name="project")(y)
    if self.stride != 1 or channels != self.features:
      return y
    return x + StochasticDepth(self.skip_rate, name="skip")(y, train=train)


class ConvNormActivation(nn.Module):
  """A convolution, batch norm and an activation, relu6 by default."""

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


def round_channels(channels: float) -> int:
  """Rounds to the nearest multiple of 8 that is at least 0.9 * channels."""
  nearest = max(8, int(channels + 4) // 8 * 8)
  return nearest + 8 if nearest < 0.9 * channels else nearest


PADDINGS = {
  "same": lambda size: "SAME",
  "symmetric": lambda size: ((size // 2, size // 2),) * 2,
}

"""ResNet: convolutional blocks with residual connections.

He et al. 2016, arXiv:1512.03385. The 3x3 convolution of a bottleneck has the
stride, as in most published weights ("v1.5").
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import UserError, lookup
from dlcore.layers import (
  Conv,
  DropBlock,
  StochasticDepth,
  max_pool,
  remat,
  stochastic_depth_rate,
)
from dlcore.models.batch_norm import make_batch_norm
from dlcore.models.field_checks import check_at_least, check_fields, check_head
from dlcore.models.input_checks import check_images
from dlcore.models.output_layers import classifier_output, with_intermediates
from dlcore.typing import Array

conv = partial(Conv, use_bias=False, kernel_init=nn.initializers.he_normal())


class ResNet(nn.Module):
  """Maps images to logits by stages of residual blocks.

  Attributes:
    num_classes: number of classes; 1 in regression.
    stages: number of blocks of each stage.
    width: number of channels of the first stage, doubled in each further stage.
    block: "basic", two 3x3 convolutions, or "bottleneck", 1x1, 3x3 and 1x1
      convolutions with four times as many output channels.
    stem: "large", a 7x7 convolution and max pooling with a total stride of 4,
      or "small", a 3x3 convolution of stride 1.
    stem_width: number of channels of the stem; 0 means that of the first stage.
    shortcut: shortcut of blocks that change the shape: "convolution" is a 1x1
      convolution (option B of the paper), "zeros" subsamples and pads channels
      with zeros (option A, used by the networks for CIFAR).
    stochastic_depth: rate of stochastic depth in the last block; it increases
      linearly from the first block (Huang et al. 2016, arXiv:1603.09382).
    drop_block: rate of `layers.DropBlock` after each of the last two stages.
    block_size: rows and columns of a dropped block.
    dropout: dropout rate before the output layer. All rates may be traced
      scalars.
    head: "classifier", or None to return features.
    remat: whether to rematerialize blocks in the backward pass.
    dtype: dtype of the computation; parameters and logits are float32.
    axis_name: mapped axis over which batch statistics are averaged.
  """

  num_classes: int | None = None
  stages: tuple[int, ...] = (2, 2, 2, 2)
  width: int = 64
  block: str = "basic"
  stem: str = "large"
  stem_width: int = 0
  shortcut: str = "convolution"
  stochastic_depth: float | Array = 0.0
  drop_block: float | Array = 0.0
  block_size: int = 7
  dropout: float | Array = 0.0
  head: str | None = "classifier"
  remat: bool = False
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x: Array, *, train: bool, intermediates: bool = False):
    """Maps images `[B, Y, X, C]` to float32 `[B, num_classes]`.

    Without a head, returns the output of the last stage `[B, Y', X', D]` and
    its average `[B, D]`. With `intermediates`, returns a pair of the output and
    a dict: `hidden_states`, the output of the stem and of each stage.
    """
    self._check(x)
    make_block = lookup(BLOCKS, self.block, "block")
    make_stem = lookup(STEMS, self.stem, "stem")
    shortcut = lookup(SHORTCUTS, self.shortcut, "shortcut")
    norm = make_batch_norm(self, train=train)

    width = self.stem_width or self.width
    stem = make_stem(width, norm=norm, dtype=self.dtype, name="stem")
    states = [stem(x.astype(self.dtype))]
    index, total = 0, sum(self.stages)
    for stage, blocks in enumerate(self.stages):
      x = states[-1]
      for i in range(blocks):
        index += 1
        block = make_block(
          self.width * 2**stage,
          stride=2 if i == 0 and stage > 0 else 1,
          norm=norm,
          shortcut=shortcut,
          skip_rate=stochastic_depth_rate(self.stochastic_depth, index / total),
          dtype=self.dtype,
          name=f"stage_{stage}_block_{i}",
        )
        run = partial(type(block).__call__, train=train)
        x = remat(run, self.remat)(block, x)
      if stage >= len(self.stages) - 2:
        drop = DropBlock(
          self.drop_block, self.block_size, name=f"drop_block_{stage}"
        )
        x = drop(x, train=train)
      states.append(x)
    x = states[-1]
    output = classifier_output(self, x, x.mean((1, 2)), train=train)
    return with_intermediates(output, states, intermediates)

  def _check(self, x: Array) -> None:
    check_fields(self)
    check_at_least(self, 1, "stages", "width", "block_size")
    check_at_least(self, 0, "stem_width")
    check_head(self, "classifier")
    if self.shortcut == "zeros" and self.stem_width > self.width:
      raise UserError(
        f"expected stem_width <= {self.width} with shortcut='zeros', which "
        "cannot remove channels",
        f"got {self.stem_width}",
        "try shortcut='convolution'",
      )
    if not self.stages:
      raise UserError("expected at least one stage", "got stages=()")
    check_images(x, min_size=2)


class BasicBlock(nn.Module):
  """Residual block of two 3x3 convolutions."""

  features: int
  stride: int
  norm: Callable[..., nn.Module]
  shortcut: Callable[..., Array]
  skip_rate: float | Array = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Maps `[B, Y, X, C]` to `[B, Y / stride, X / stride, features]`."""
    strides = (self.stride, self.stride)
    y = _conv_3x3(self.features, strides, self.dtype, "conv_0")(x)
    y = nn.relu(self.norm(name="norm_0")(y))
    y = _conv_3x3(self.features, (1, 1), self.dtype, "conv_1")(y)
    y = self.norm(name="norm_1")(y)
    return _add_shortcut(self, x, y, train)


class BottleneckBlock(nn.Module):
  """Residual block of 1x1, 3x3 and 1x1 convolutions."""

  features: int
  stride: int
  norm: Callable[..., nn.Module]
  shortcut: Callable[..., Array]
  skip_rate: float | Array = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Maps `[B, Y, X, C]` to `[B, Y / stride, X / stride, 4 * features]`."""
    strides = (self.stride, self.stride)
    narrow = partial(conv, kernel_size=(1, 1), dtype=self.dtype)
    y = narrow(self.features, name="conv_0")(x)
    y = nn.relu(self.norm(name="norm_0")(y))
    y = _conv_3x3(self.features, strides, self.dtype, "conv_1")(y)
    y = nn.relu(self.norm(name="norm_1")(y))
    y = narrow(4 * self.features, name="conv_2")(y)
    y = self.norm(name="norm_2")(y)
    return _add_shortcut(self, x, y, train)


class LargeStem(nn.Module):
  """A 7x7 convolution of stride 2 and max pooling of stride 2."""

  features: int
  norm: Callable[..., nn.Module]
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps `[B, Y, X, C]` to `[B, Y / 4, X / 4, features]`."""
    x = conv(
      self.features,
      kernel_size=(7, 7),
      strides=(2, 2),
      padding=((3, 3), (3, 3)),
      dtype=self.dtype,
      name="conv",
    )(x)
    x = nn.relu(self.norm(name="norm")(x))
    return max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))


class SmallStem(nn.Module):
  """A 3x3 convolution of stride 1, for small images."""

  features: int
  norm: Callable[..., nn.Module]
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps `[B, Y, X, C]` to `[B, Y, X, features]`."""
    x = _conv_3x3(self.features, (1, 1), self.dtype, "conv")(x)
    return nn.relu(self.norm(name="norm")(x))


def _conv_3x3(features: int, strides, dtype, name: str) -> Conv:
  # Not "SAME", which pads asymmetrically with stride 2.
  return conv(
    features,
    kernel_size=(3, 3),
    strides=strides,
    padding=((1, 1), (1, 1)),
    dtype=dtype,
    name=name,
  )


def _add_shortcut(block, x: Array, y: Array, train: bool) -> Array:
  """Adds the shortcut to the residual branch, with stochastic depth."""
  if x.shape != y.shape or block.stride != 1:
    x = block.shortcut(block, x, y.shape[-1])
  y = StochasticDepth(block.skip_rate, name="skip")(y, train=train)
  return nn.relu(x + y)


def _conv_shortcut(block, x: Array, features: int) -> Array:
  """Maps `[B, Y, X, C]` to `[B, Y / stride, X / stride, features]`."""
  x = conv(
    features,
    kernel_size=(1, 1),
    strides=(block.stride, block.stride),
    dtype=block.dtype,
    name="shortcut_conv",
  )(x)
  return block.norm(name="shortcut_norm")(x)


def _zero_padded_shortcut(block, x: Array, features: int) -> Array:
  """Maps shapes as `_conv_shortcut` does, without parameters."""
  x = x[:, :: block.stride, :: block.stride]
  return jnp.pad(x, (*[(0, 0)] * 3, (0, features - x.shape[-1])))


BLOCKS = {"basic": BasicBlock, "bottleneck": BottleneckBlock}
STEMS = {"large": LargeStem, "small": SmallStem}
SHORTCUTS = {"convolution": _conv_shortcut, "zeros": _zero_padded_shortcut}

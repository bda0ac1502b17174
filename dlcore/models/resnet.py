"""Residual networks: blocks of convolutions whose input is added again.

He et al. 2016, arXiv:1512.03385; with the stride on the 3x3 convolution of a
bottleneck, as widely published weights have it ("v1.5").
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
  Dropout,
  StochasticDepth,
  max_pool,
  remat,
  stochastic_depth_rate,
)
from dlcore.models import checks
from dlcore.models.common import batch_norm, logits, noted
from dlcore.typing import Array

conv = partial(Conv, use_bias=False, kernel_init=nn.initializers.he_normal())


class ResNet(nn.Module):
  """Maps images to logits by stages of residual blocks, each half the size.

  Attributes:
    num_classes: width of the output (1 in regression).
    stages: the number of blocks of each stage.
    width: channels of the first stage; they double with every stage.
    block: "basic", two 3x3 convolutions, or "bottleneck", 1x1, 3x3 and 1x1
      with four times the channels.
    stem: "large", a 7x7 convolution and a pooling that leave a sixteenth of
      the pixels, or "small", a 3x3 convolution that leaves all.
    stem_width: channels of the stem; 0 takes those of the first stage.
    shortcut: what a shortcut is where the shape changes: "convolution", 1x1,
      or "zeros", channels of zeros beside every other pixel. The paper calls
      them options B and A; its networks for CIFAR have A.
    stochastic_depth: rate at which the last block is skipped; it grows
      linearly from the first block (Huang et al. 2016, arXiv:1603.09382).
    drop_block: rate of `layers.DropBlock` after each of the last two stages.
    block_size: rows and columns of a dropped block.
    dropout: rate before the output layer. All rates may be traced scalars.
    head: "classifier", or None to return the features.
    remat: whether the backward pass computes blocks again, to save memory.
    dtype: of the arithmetic; parameters and output are float32.
    axis_name: of the mapped axis that batch statistics are averaged over.
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

    Without a head the result is the pair of the last stage's output
    `[B, Y', X', D]` and its average `[B, D]`. With `intermediates` a dict goes
    with it: `hidden_states`, what leaves the stem and each stage.
    """
    self._check(x)
    make_block = lookup(BLOCKS, self.block, "block")
    make_stem = lookup(STEMS, self.stem, "stem")
    shortcut = lookup(SHORTCUTS, self.shortcut, "shortcut")
    norm = batch_norm(self, train=train)

    width = self.stem_width or self.width
    stem = make_stem(width, norm=norm, dtype=self.dtype, name="stem")
    states = [stem(x.astype(self.dtype))]
    count, total = 0, sum(self.stages)
    for stage, blocks in enumerate(self.stages):
      x = states[-1]
      for i in range(blocks):
        count += 1
        block = make_block(
          self.width * 2**stage,
          stride=2 if i == 0 and stage > 0 else 1,
          norm=norm,
          shortcut=shortcut,
          skip=stochastic_depth_rate(self.stochastic_depth, count / total),
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
    output = self._output(states[-1], train)
    return noted(output, states, intermediates)

  def _output(self, x: Array, train: bool):
    pooled = x.mean((1, 2))
    if self.head is None:
      return x, pooled
    x = Dropout(self.dropout, name="dropout")(pooled, train=train)
    return logits(self, self.num_classes)(x)

  def _check(self, x: Array) -> None:
    checks.settings(self)
    checks.at_least(
      1,
      stages=self.stages,
      width=self.width,
      block_size=self.block_size,
    )
    checks.at_least(0, stem_width=self.stem_width)
    checks.head(self, "classifier")
    if self.shortcut == "zeros" and self.stem_width > self.width:
      raise UserError(
        f"expected stem_width of at most {self.width}, as zeros can be added "
        "only",
        f"got {self.stem_width}",
        'try shortcut="convolution"',
      )
    if not self.stages:
      raise UserError("expected at least one stage", "got stages=()")
    checks.images(x, minimum=2)


class Basic(nn.Module):
  """Two 3x3 convolutions beside a shortcut; `skip` drops them at random."""

  features: int
  stride: int
  norm: Callable[..., nn.Module]
  shortcut: Callable[..., Array]
  skip: float | Array = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Maps `[B, Y, X, C]` to `[B, Y / stride, X / stride, features]`."""
    steps = (self.stride, self.stride)
    y = _conv_3x3(self.features, steps, self.dtype, "conv_0")(x)
    y = nn.relu(self.norm(name="norm_0")(y))
    y = _conv_3x3(self.features, (1, 1), self.dtype, "conv_1")(y)
    y = self.norm(name="norm_1")(y)
    return _joined(self, x, y, train)


class Bottleneck(nn.Module):
  """Convolutions 1x1, 3x3, 1x1 beside a shortcut; the last is 4 times wide."""

  features: int
  stride: int
  norm: Callable[..., nn.Module]
  shortcut: Callable[..., Array]
  skip: float | Array = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Maps `[B, Y, X, C]` to `[B, Y / stride, X / stride, 4 * features]`."""
    steps = (self.stride, self.stride)
    narrow = partial(conv, kernel_size=(1, 1), dtype=self.dtype)
    y = narrow(self.features, name="conv_0")(x)
    y = nn.relu(self.norm(name="norm_0")(y))
    y = _conv_3x3(self.features, steps, self.dtype, "conv_1")(y)
    y = nn.relu(self.norm(name="norm_1")(y))
    y = narrow(4 * self.features, name="conv_2")(y)
    y = self.norm(name="norm_2")(y)
    return _joined(self, x, y, train)


class LargeStem(nn.Module):
  """A 7x7 convolution of stride 2, then pooling of stride 2."""

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
  """A 3x3 convolution, for images of few pixels."""

  features: int
  norm: Callable[..., nn.Module]
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps `[B, Y, X, C]` to `[B, Y, X, features]`."""
    x = _conv_3x3(self.features, (1, 1), self.dtype, "conv")(x)
    return nn.relu(self.norm(name="norm")(x))


def _conv_3x3(features: int, strides, dtype, name: str) -> Conv:
  # Not "SAME", which pads on one side only where the stride is 2.
  return conv(
    features,
    kernel_size=(3, 3),
    strides=strides,
    padding=((1, 1), (1, 1)),
    dtype=dtype,
    name=name,
  )


def _joined(block, x: Array, y: Array, train: bool) -> Array:
  """Adds the shortcut to what the convolutions made, in part of training."""
  if x.shape != y.shape or block.stride != 1:
    x = block.shortcut(block, x, y.shape[-1])
  y = StochasticDepth(block.skip, name="skip")(y, train=train)
  return nn.relu(x + y)


def _convolved(block, x: Array, features: int) -> Array:
  """Maps `[B, Y, X, C]` to `[B, Y / stride, X / stride, features]`."""
  x = conv(
    features,
    kernel_size=(1, 1),
    strides=(block.stride, block.stride),
    dtype=block.dtype,
    name="shortcut_conv",
  )(x)
  return block.norm(name="shortcut_norm")(x)


def _padded(block, x: Array, features: int) -> Array:
  """Does what `_convolved` does, without parameters."""
  x = x[:, :: block.stride, :: block.stride]
  return jnp.pad(x, (*[(0, 0)] * 3, (0, features - x.shape[-1])))


BLOCKS = {"basic": Basic, "bottleneck": Bottleneck}
STEMS = {"large": LargeStem, "small": SmallStem}
SHORTCUTS = {"convolution": _convolved, "zeros": _padded}

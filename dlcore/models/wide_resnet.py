"""Wide residual networks: few layers of many channels.

Zagoruyko & Komodakis 2016, arXiv:1605.07146; with the order of He et al. 2016,
arXiv:1603.05027, batch norm and relu before each convolution.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import UserError
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

conv = partial(
  Conv,
  use_bias=False,
  padding=((1, 1), (1, 1)),
  kernel_init=nn.initializers.he_normal(),
)


class WideResNet(nn.Module):
  """Maps small images to logits by three groups of blocks (table 1).

  WRN-d-k of the paper has `depth=d` and `widen=k`.

  Attributes:
    num_classes: width of the output (1 in regression).
    depth: the number of convolutions, 4 more than a multiple of 6.
    widen: how often the 16, 32 and 64 channels of the groups are taken.
    dropout: rate between the two convolutions of a block, a number or a
      traced scalar; 0.3 in the paper, where there is any.
    stochastic_depth: rate at which the last block is skipped; it grows
      linearly from the first block (Huang et al. 2016, arXiv:1603.09382).
    head: "classifier", or None to return the features.
    remat: whether the backward pass computes blocks again, to save memory.
    dtype: of the arithmetic; parameters and output are float32.
    axis_name: of the mapped axis that batch statistics are averaged over.
  """

  num_classes: int | None = None
  depth: int = 28
  widen: int = 10
  dropout: float | Array = 0.0
  stochastic_depth: float | Array = 0.0
  head: str | None = "classifier"
  remat: bool = False
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x: Array, *, train: bool, intermediates: bool = False):
    """Maps images `[B, Y, X, C]` to float32 `[B, num_classes]`.

    Without a head the result is the pair of the last activation
    `[B, Y', X', D]` and its average `[B, D]`. With `intermediates` a dict goes
    with it: `hidden_states`, what leaves the first convolution and each group.
    """
    self._check(x)
    norm = batch_norm(self, train=train)

    x = x.astype(self.dtype)
    stem = conv(16, kernel_size=(3, 3), dtype=self.dtype, name="stem")
    states = [stem(x)]
    blocks = (self.depth - 4) // 6
    for stage in range(3):
      x = states[-1]
      for i in range(blocks):
        block = Block(
          16 * self.widen * 2**stage,
          stride=2 if i == 0 and stage > 0 else 1,
          norm=norm,
          dropout=self.dropout,
          skip=stochastic_depth_rate(
            self.stochastic_depth, (stage * blocks + i + 1) / (3 * blocks)
          ),
          dtype=self.dtype,
          name=f"stage_{stage}_block_{i}",
        )
        run = partial(Block.__call__, train=train)
        x = remat(run, self.remat)(block, x)
      states.append(x)
    output = self._output(nn.relu(norm(name="norm")(states[-1])))
    return noted(output, states, intermediates)

  def _output(self, x: Array):
    pooled = x.mean((1, 2))
    if self.head is None:
      return x, pooled
    return logits(self, self.num_classes)(pooled)

  def _check(self, x: Array) -> None:
    checks.settings(self)
    checks.at_least(1, widen=self.widen)
    checks.at_least(10, depth=self.depth)
    if self.depth % 6 != 4:
      raise UserError(
        "expected depth to be 4 more than a multiple of 6",
        f"got {self.depth}",
        f"try {self.depth - (self.depth - 4) % 6}",
      )
    checks.head(self, "classifier")
    checks.images(x, minimum=2)


class Block(nn.Module):
  """Two 3x3 convolutions, each after batch norm and relu, and a shortcut.

  Where the shape changes, the shortcut is a 1x1 convolution of what the first
  3x3 one sees too.
  """

  features: int
  stride: int
  norm: Callable[..., nn.Module]
  dropout: float | Array = 0.0
  skip: float | Array = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Maps `[B, Y, X, C]` to `[B, Y / stride, X / stride, features]`."""
    steps = (self.stride, self.stride)
    wide = partial(conv, self.features, dtype=self.dtype)
    y = nn.relu(self.norm(name="norm_0")(x))
    if self.stride != 1 or x.shape[-1] != self.features:
      x = wide(
        kernel_size=(1, 1), strides=steps, padding="VALID", name="shortcut"
      )(y)
    y = wide(kernel_size=(3, 3), strides=steps, name="conv_0")(y)
    y = nn.relu(self.norm(name="norm_1")(y))
    y = Dropout(self.dropout, name="dropout")(y, train=train)
    y = wide(kernel_size=(3, 3), name="conv_1")(y)
    return x + StochasticDepth(self.skip, name="skip")(y, train=train)

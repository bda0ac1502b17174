"""Wide residual networks: fewer layers with more channels.

Zagoruyko & Komodakis 2016, arXiv:1605.07146; pre-activation blocks as in He et
al. 2016, arXiv:1603.05027: batch norm and relu precede each convolution.
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
from dlcore.models.batch_norm import make_batch_norm
from dlcore.models.field_checks import check_at_least, check_fields, check_head
from dlcore.models.input_checks import check_images
from dlcore.models.output_layers import output_layer, with_intermediates
from dlcore.typing import Array

conv = partial(
  Conv,
  use_bias=False,
  padding=((1, 1), (1, 1)),
  kernel_init=nn.initializers.he_normal(),
)


class WideResNet(nn.Module):
  """Maps small images to logits by three groups of blocks (table 1).

  WRN-d-k of the paper is `depth=d, widen=k`.

  Attributes:
    num_classes: number of classes; 1 in regression.
    depth: number of convolutions, 6 n + 4.
    widen: widening factor, multiplies the 16, 32 and 64 channels of the groups.
    dropout: dropout rate between the convolutions of a block, a number or a
      traced scalar; 0.3 in the paper, if any.
    stochastic_depth: rate of stochastic depth in the last block; it increases
      linearly from the first block (Huang et al. 2016, arXiv:1603.09382).
    head: "classifier", or None to return features.
    remat: whether to rematerialize blocks in the backward pass.
    dtype: dtype of the computation; parameters and logits are float32.
    axis_name: mapped axis over which batch statistics are averaged.
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

    Without a head, returns the last activation `[B, Y', X', D]` and its
    average `[B, D]`. With `intermediates`, returns a pair of the output and a
    dict: `hidden_states`, the output of the first convolution and of each
    group.
    """
    self._check(x)
    norm = make_batch_norm(self, train=train)

    x = x.astype(self.dtype)
    stem = conv(16, kernel_size=(3, 3), dtype=self.dtype, name="stem")
    states = [stem(x)]
    blocks = (self.depth - 4) // 6
    for stage in range(3):
      x = states[-1]
      for i in range(blocks):
        block = WideBlock(
          16 * self.widen * 2**stage,
          stride=2 if i == 0 and stage > 0 else 1,
          norm=norm,
          dropout=self.dropout,
          skip_rate=stochastic_depth_rate(
            self.stochastic_depth, (stage * blocks + i + 1) / (3 * blocks)
          ),
          dtype=self.dtype,
          name=f"stage_{stage}_block_{i}",
        )
        run = partial(WideBlock.__call__, train=train)
        x = remat(run, self.remat)(block, x)
      states.append(x)
    output = self._output(nn.relu(norm(name="norm")(states[-1])))
    return with_intermediates(output, states, intermediates)

  def _output(self, x: Array):
    pooled = x.mean((1, 2))
    if self.head is None:
      return x, pooled
    return output_layer(self, self.num_classes)(pooled)

  def _check(self, x: Array) -> None:
    check_fields(self)
    check_at_least(self, 1, "widen")
    check_at_least(self, 10, "depth")
    if self.depth % 6 != 4:
      raise UserError(
        "expected depth to be 6 n + 4 for an integer n",
        f"got {self.depth}",
        f"try {self.depth - (self.depth - 4) % 6}",
      )
    check_head(self, "classifier")
    check_images(x, min_size=2)


class WideBlock(nn.Module):
  """Pre-activation residual block of two 3x3 convolutions.

  If the shape changes, the shortcut is a 1x1 convolution of the first
  activation.
  """

  features: int
  stride: int
  norm: Callable[..., nn.Module]
  dropout: float | Array = 0.0
  skip_rate: float | Array = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Maps `[B, Y, X, C]` to `[B, Y / stride, X / stride, features]`."""
    strides = (self.stride, self.stride)
    wide = partial(conv, self.features, dtype=self.dtype)
    y = nn.relu(self.norm(name="norm_0")(x))
    if self.stride != 1 or x.shape[-1] != self.features:
      x = wide(
        kernel_size=(1, 1), strides=strides, padding="VALID", name="shortcut"
      )(y)
    y = wide(kernel_size=(3, 3), strides=strides, name="conv_0")(y)
    y = nn.relu(self.norm(name="norm_1")(y))
    y = Dropout(self.dropout, name="dropout")(y, train=train)
    y = wide(kernel_size=(3, 3), name="conv_1")(y)
    return x + StochasticDepth(self.skip_rate, name="skip")(y, train=train)

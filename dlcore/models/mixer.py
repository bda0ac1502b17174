"""MLP-Mixer: dense layers over patches and over channels, in turn.

Tolstikhin et al. 2021, arXiv:2105.01601.
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


class Mixer(nn.Module):
  """Maps images of one size to logits (fig. 1, table 1; the default is S/16).

  The dense layers over patches have as many inputs as there are patches, so
  the parameters are those of one image size.

  Attributes:
    num_classes: width of the output (1 in regression).
    patch_size: rows and columns of a patch.
    depth: the number of blocks.
    width: channels of a patch.
    tokens_mlp_dim: hidden width of the dense layers over patches.
    channels_mlp_dim: hidden width of the dense layers over channels.
    stochastic_depth: rate at which the last block's branches are skipped; it
      grows linearly from 0 in the first (Huang et al. 2016, arXiv:1603.09382).
    dropout: rate before the output layer. Both rates may be traced scalars.
    head: "classifier", or None to return the features.
    remat: whether the backward pass computes blocks again, to save memory.
    dtype: of the arithmetic; parameters and output are float32.
  """

  num_classes: int | None = None
  patch_size: int = 16
  depth: int = 8
  width: int = 512
  tokens_mlp_dim: int = 256
  channels_mlp_dim: int = 2048
  stochastic_depth: float | Array = 0.0
  dropout: float | Array = 0.0
  head: str | None = "classifier"
  remat: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, *, train: bool, intermediates: bool = False):
    """Maps images `[B, Y, X, C]` to float32 `[B, num_classes]`.

    Without a head the result is the pair of all patches `[B, T, width]`, after
    layer norm, and their average `[B, width]`. With `intermediates` a dict
    goes with it: `hidden_states`, what enters the first block and leaves each.
    """
    self._check(x)
    x = Conv(
      self.width,
      kernel_size=(self.patch_size, self.patch_size),
      strides=(self.patch_size, self.patch_size),
      padding="VALID",
      dtype=self.dtype,
      name="patches",
    )(x)
    batch, rows, columns, width = x.shape
    checks.inputs(self, rows * columns, "block_0", "tokens", "in")
    states = [x.reshape(batch, rows * columns, width)]
    for i in range(self.depth):
      block = Block(
        self.tokens_mlp_dim,
        self.channels_mlp_dim,
        skip=stochastic_depth_rate(
          self.stochastic_depth, i / max(self.depth - 1, 1)
        ),
        dtype=self.dtype,
        name=f"block_{i}",
      )
      run = partial(Block.__call__, train=train)
      states.append(remat(run, self.remat)(block, states[-1]))
    output = self._output(states[-1], train)
    return noted(output, states, intermediates)

  def _output(self, x: Array, train: bool):
    x = LayerNorm(epsilon=1e-6, dtype=self.dtype, name="norm")(x)
    pooled = x.mean(1)
    if self.head is None:
      return x, pooled
    x = Dropout(self.dropout, name="dropout")(pooled, train=train)
    zeros = nn.initializers.zeros_init()
    return logits(self, self.num_classes, kernel_init=zeros)(x)

  def _check(self, x: Array) -> None:
    checks.settings(self)
    checks.at_least(
      1,
      patch_size=self.patch_size,
      depth=self.depth,
      width=self.width,
      tokens_mlp_dim=self.tokens_mlp_dim,
      channels_mlp_dim=self.channels_mlp_dim,
    )
    checks.head(self, "classifier")
    checks.images(x, minimum=self.patch_size)
    rows, columns = x.shape[1:3]
    if rows % self.patch_size or columns % self.patch_size:
      raise UserError(
        f"expected images of whole patches of {self.patch_size} pixels",
        f"got {rows}x{columns}",
        "resize them, or choose another patch_size",
      )


class Block(nn.Module):
  """Mixes patches, then channels, each beside a shortcut (eq. 1)."""

  tokens_mlp_dim: int
  channels_mlp_dim: int
  skip: float | Array = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Maps `[B, T, D]` to the same shape."""
    norm = partial(LayerNorm, epsilon=1e-6, dtype=self.dtype)
    mlp = partial(MLP, dtype=self.dtype)
    y = norm(name="tokens_norm")(x).swapaxes(1, 2)
    y = mlp(self.tokens_mlp_dim, name="tokens")(y).swapaxes(1, 2)
    x += StochasticDepth(self.skip, name="tokens_skip")(y, train=train)
    y = mlp(self.channels_mlp_dim, name="channels")(
      norm(name="channels_norm")(x)
    )
    return x + StochasticDepth(self.skip, name="channels_skip")(y, train=train)


class MLP(nn.Module):
  """Two dense layers with a gelu in between, over the last axis."""

  width: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps `[..., D]` to the same shape."""
    y = nn.Dense(self.width, dtype=self.dtype, name="in")(x)
    y = nn.gelu(y, approximate=False)
    return nn.Dense(x.shape[-1], dtype=self.dtype, name="out")(y)

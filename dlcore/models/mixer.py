"""MLP-Mixer: MLPs over patches alternate with MLPs over channels.

Tolstikhin et al. 2021, arXiv:2105.01601.
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
from dlcore.models.input_checks import check_images, check_input_size
from dlcore.models.output_layers import classifier_output, with_intermediates
from dlcore.typing import Array


class Mixer(nn.Module):
  """Maps images of one size to logits (fig. 1, table 1; the default is S/16).

  The number of patches is the width of the MLPs over patches, so the parameters
  fit one image size only.

  Attributes:
    num_classes: number of classes; 1 in regression.
    patch_size: rows and columns of a patch.
    depth: number of blocks.
    width: number of channels of a patch.
    tokens_mlp_dim: hidden width of the MLPs over patches.
    channels_mlp_dim: hidden width of the MLPs over channels.
    stochastic_depth: rate of stochastic depth in the last block; it increases
      linearly from 0 in the first block (Huang et al. 2016, arXiv:1603.09382).
    dropout: dropout rate before the output layer. Both rates may be traced
      scalars.
    head: "classifier", or None to return features.
    remat: whether to rematerialize blocks in the backward pass.
    dtype: dtype of the computation; parameters and logits are float32.
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

    Without a head, returns the patches `[B, T, width]` after the last layer
    norm and their average `[B, width]`. With `intermediates`, returns a pair of
    the output and a dict: `hidden_states`, the input of the first block and the
    output of each block.
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
    check_input_size(self, rows * columns, "block_0", "tokens", "in")
    states = [x.reshape(batch, rows * columns, width)]
    for i in range(self.depth):
      block = MixerBlock(
        self.tokens_mlp_dim,
        self.channels_mlp_dim,
        skip_rate=stochastic_depth_rate(
          self.stochastic_depth, i / max(self.depth - 1, 1)
        ),
        dtype=self.dtype,
        name=f"block_{i}",
      )
      run = partial(MixerBlock.__call__, train=train)
      states.append(remat(run, self.remat)(block, states[-1]))
    x = LayerNorm(epsilon=1e-6, dtype=self.dtype, name="norm")(states[-1])
    zeros = nn.initializers.zeros_init()
    output = classifier_output(
      self, x, x.mean(1), train=train, kernel_init=zeros
    )
    return with_intermediates(output, states, intermediates)

  def _check(self, x: Array) -> None:
    check_fields(self)
    check_at_least(
      self,
      1,
      "patch_size",
      "depth",
      "width",
      "tokens_mlp_dim",
      "channels_mlp_dim",
    )
    check_head(self, "classifier")
    check_images(x, min_size=self.patch_size)
    rows, columns = x.shape[1:3]
    if rows % self.patch_size or columns % self.patch_size:
      raise UserError(
        "expected image sizes that are multiples of "
        f"patch_size={self.patch_size}",
        f"got {rows}x{columns}",
        "resize the images or change patch_size",
      )


class MixerBlock(nn.Module):
  """Residual MLPs over patches, then over channels (eq. 1)."""

  tokens_mlp_dim: int
  channels_mlp_dim: int
  skip_rate: float | Array = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Maps `[B, T, D]` to the same shape."""
    norm = partial(LayerNorm, epsilon=1e-6, dtype=self.dtype)
    mlp = partial(MlpBlock, dtype=self.dtype)
    y = norm(name="tokens_norm")(x).swapaxes(1, 2)
    y = mlp(self.tokens_mlp_dim, name="tokens")(y).swapaxes(1, 2)
    x += StochasticDepth(self.skip_rate, name="tokens_skip")(y, train=train)
    y = mlp(self.channels_mlp_dim, name="channels")(
      norm(name="channels_norm")(x)
    )
    return x + StochasticDepth(self.skip_rate, name="channels_skip")(
      y, train=train
    )


class MlpBlock(nn.Module):
  """Two dense layers over the last axis with a gelu in between."""

  width: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps `[..., D]` to the same shape."""
    y = nn.Dense(self.width, dtype=self.dtype, name="in")(x)
    y = nn.gelu(y, approximate=False)
    return nn.Dense(x.shape[-1], dtype=self.dtype, name="out")(y)

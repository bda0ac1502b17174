"""The vision transformer: an image is a sequence of patches.

Dosovitskiy et al. 2021, arXiv:2010.11929; the sizes "tiny" and "small" are
those of Touvron et al. 2021, arXiv:2012.12877.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import UserError, lookup
from dlcore.layers import (
  Attention,
  Dropout,
  FeedForward,
  LayerNorm,
  PatchEmbed,
  StochasticDepth,
  resize_table,
  stack,
)
from dlcore.models import checks
from dlcore.models.common import logits
from dlcore.typing import Array

normal = nn.initializers.normal(0.02)


class ViT(nn.Module):
  """Maps images to logits by attention among their patches.

  Attributes:
    num_classes: width of the output (1 in regression).
    patch_size: rows and columns of a patch.
    width: D of the tokens.
    depth: number of blocks.
    num_heads: of each attention.
    mlp_dim: width within the feed-forward layers; 0 is 4 times `width`.
    image_size: of the images that the position table is made for, rows and
      columns or one number for both; images of another size get a resized
      one. 0 makes it for the images of `init`: those of another number of
      patches are refused, but rows and columns cannot be told apart.
    pool: "class", a token of its own, or "mean", over the patches.
    head: "classifier", or None for the tokens after the last norm.
    pooler: whether a dense layer and tanh follow the pooling. Without a head
      their output is then returned too.
    activation: a name of `ACTIVATIONS`.
    eps: of the norms.
    qkv_bias: whether queries, keys and values have biases.
    dropout: rate of tokens and of what leaves each branch of a block.
    attention_dropout: rate of the weights of attention.
    stochastic_depth: rate at which the last block is skipped; it grows
      linearly from 0 in the first. All rates may be traced scalars.
    remat: whether the backward pass computes blocks again, to save memory.
    scan: whether the blocks are one that is scanned, see `layers.stack`.
    dtype: of the arithmetic; parameters and output are float32.
  """

  num_classes: int | None = None
  patch_size: int = 16
  width: int = 768
  depth: int = 12
  num_heads: int = 12
  mlp_dim: int = 0
  image_size: int | tuple[int, int] = 0
  pool: str = "class"
  head: str | None = "classifier"
  pooler: bool = False
  activation: str = "gelu_exact"
  eps: float = 1e-6
  qkv_bias: bool = True
  dropout: float | Array = 0.0
  attention_dropout: float | Array = 0.0
  stochastic_depth: float | Array = 0.0
  remat: bool = False
  scan: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: Array, *, train: bool, intermediates: bool = False
  ) -> Any:
    """Maps images `[B, Y, X, C]` to float32 `[B, num_classes]`.

    Args:
      x: float images; the patches fill them.
      train: whether to drop.
      intermediates: whether to return what blocks pass on, too.

    Returns:
      The logits; without a head the tokens `[B, T, D]` (the class token
      first), with a pooler the pair of them and `[B, D]`. With
      `intermediates` the pair of this and a dict of tuples, `hidden_states`
      `[B, T, D]` before the first and after each block, and `attentions`, of
      each block the weights `[B, H, T, T]`.

    Raises:
      UserError: a setting or the size of the images cannot be.
    """
    self._check(x)
    x = self._embed(x.astype(self.dtype))
    x = Dropout(self.dropout, name="dropout")(x, train=train)

    def run(block, x, skip):
      return block(x, skip, train=train, weights=intermediates)

    x, states, maps = stack(
      run,
      self._block,
      self.depth,
      x,
      per_block=_grown(self.stochastic_depth, self.depth),
      scan=self.scan,
      remat=self.remat,
      collect=intermediates,
    )
    x = _norm(self, "norm")(x)
    output = self._output(x)
    if not intermediates:
      return output
    return output, {"hidden_states": states, "attentions": maps}

  def _embed(self, x: Array) -> Array:
    """Maps images to tokens `[B, T, D]`."""
    x = PatchEmbed(
      self.width, self.patch_size, dtype=self.dtype, name="patches"
    )(x)
    batch, *grid, _ = x.shape
    x = x.reshape(batch, grid[0] * grid[1], self.width)
    extra = int(self.pool == "class")
    if extra:
      token = self.param("class_token", normal, (1, 1, self.width))
      token = jnp.broadcast_to(token, (batch, 1, self.width))
      x = jnp.concatenate([token.astype(self.dtype), x], 1)
    own = self._grid() or tuple(grid)
    shape = (1, extra + own[0] * own[1], self.width)
    self._check_table(shape, grid)
    table = self.param("position", normal, shape)[0]
    table = resize_table(table, own, tuple(grid), leading=extra)
    return x + table.astype(self.dtype)

  def _grid(self) -> tuple[int, int] | None:
    """Returns the rows and columns of patches that the table is made for."""
    if not self.image_size:
      return None
    rows, columns = (
      (self.image_size,) * 2
      if isinstance(self.image_size, int)
      else self.image_size
    )
    return rows // self.patch_size, columns // self.patch_size

  def _block(self, name: str) -> nn.Module:
    return Block(
      num_heads=self.num_heads,
      mlp_dim=self.mlp_dim or 4 * self.width,
      activation=self.activation,
      eps=self.eps,
      qkv_bias=self.qkv_bias,
      dropout=self.dropout,
      attention_dropout=self.attention_dropout,
      dtype=self.dtype,
      name=name,
    )

  def _output(self, x: Array) -> Any:
    pooled = x[:, 0] if self.pool == "class" else x.mean(1)
    if self.pooler:
      dense = nn.Dense(
        self.width, dtype=self.dtype, kernel_init=normal, name="pooler"
      )
      pooled = jnp.tanh(dense(pooled))
    if self.head is None:
      return (x, pooled) if self.pooler else x
    return logits(self, self.num_classes, kernel_init=normal)(pooled)

  def _check(self, x: Array) -> None:
    checks.settings(self)
    checks.at_least(
      1,
      patch_size=self.patch_size,
      width=self.width,
      depth=self.depth,
      num_heads=self.num_heads,
    )
    checks.at_least(0, mlp_dim=self.mlp_dim)
    if self.image_size:
      checks.at_least(self.patch_size, image_size=self.image_size)
    lookup({"class": 0, "mean": 0}, self.pool, "pool")
    checks.head(self, "classifier")
    checks.images(x, minimum=self.patch_size)

  def _check_table(self, shape: tuple[int, int, int], grid) -> None:
    if not self.has_variable("params", "position"):
      return
    stored = self.get_variable("params", "position").shape
    if stored != shape:
      raise UserError(
        f"expected images of {stored[1]} tokens, as at init",
        f"got {shape[1]}, {grid[0]}x{grid[1]} patches",
        "set image_size to that of init: the table is then resized",
      )


class Block(nn.Module):
  """Attention and feed-forward layers, each beside a shortcut.

  What enters a branch is normalised first, eq. 2 and 3 of the paper.
  """

  num_heads: int
  mlp_dim: int
  activation: str = "gelu_exact"
  eps: float = 1e-6
  qkv_bias: bool = True
  dropout: float | Array = 0.0
  attention_dropout: float | Array = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: Array, skip: Array | None, *, train: bool, weights: bool
  ) -> tuple[Array, Array | None]:
    """Maps `[B, T, D]` to the same, beside the attention's weights if asked.

    Args:
      x: tokens.
      skip: rate at which each branch is dropped, a scalar.
      train: whether to drop.
      weights: whether to return the weights `[B, H, T, T]`.
    """
    drop = partial(Dropout(self.dropout, name="dropout"), train=train)
    depth = StochasticDepth(0.0 if skip is None else skip, name="skip")
    attend = Attention(
      self.num_heads,
      use_bias=self.qkv_bias,
      out_bias=True,
      dropout=self.attention_dropout,
      dtype=self.dtype,
      kernel_init=nn.initializers.xavier_uniform(),
      name="attention",
    )
    feed = FeedForward(
      self.mlp_dim,
      self.activation,
      dropout=self.dropout,
      dtype=self.dtype,
      kernel_init=nn.initializers.xavier_uniform(),
      name="feedforward",
    )
    y = _norm(self, "attention_norm")(x)
    y = attend(y, train=train, weights=weights)
    y, maps = y if weights else (y, None)
    x = x + depth(drop(y), train=train)
    y = feed(_norm(self, "feedforward_norm")(x), train=train)
    return x + depth(drop(y), train=train), maps


def _norm(module, name: str) -> nn.LayerNorm:
  return LayerNorm(module.eps, dtype=module.dtype, barrier=True, name=name)


def _grown(most: float | Array, depth: int) -> Array | None:
  """Returns the rate of each block, or None where it is 0 by definition."""
  if isinstance(most, int | float) and most == 0:
    return None
  return most * jnp.arange(depth) / max(depth - 1, 1)

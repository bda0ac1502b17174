"""ViT: a transformer encoder over the patches of an image.

Dosovitskiy et al. 2021, arXiv:2010.11929; sizes "tiny" and "small" are from
Touvron et al. 2021, arXiv:2012.12877.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import UserError, check_choice
from dlcore.layers import (
  Attention,
  Dropout,
  FeedForward,
  LayerNorm,
  PatchEmbed,
  resize_table,
  stochastic_depth_rates,
)
from dlcore.models.field_checks import check_at_least, check_fields, check_head
from dlcore.models.input_checks import check_images
from dlcore.models.output_layers import output_layer
from dlcore.models.transformer_block import (
  TransformerBlock,
  block_intermediates,
  run_blocks,
)
from dlcore.typing import Array

normal = nn.initializers.normal(0.02)


class ViT(nn.Module):
  """Maps images to logits by attention among their patches.

  Attributes:
    num_classes: number of classes; 1 in regression.
    patch_size: rows and columns of a patch.
    width: D.
    depth: number of blocks.
    num_heads: number of attention heads.
    mlp_dim: width of the feed-forward networks; 0 means 4 times `width`.
    image_size: image size of the position embedding: rows and columns, or one
      number for both. For images of another size the embedding is resized. 0
      means the images of `init`. Other numbers of patches are then an error,
      but the same number in another aspect ratio is not detected.
    pool: "class", the class token, or "mean", the average of the patches.
    head: "classifier", or None to return the tokens after the last norm.
    pooler: whether a dense layer and tanh follow the pooling. Without a head
      their output is returned too.
    activation: a key of `ACTIVATIONS`.
    eps: added to the variance in the norms.
    qkv_bias: whether queries, keys and values have biases.
    dropout: dropout rate of the embeddings, within the feed-forward networks
      and of the output of each sublayer.
    attention_dropout: dropout rate of the attention weights.
    stochastic_depth: rate of stochastic depth in the last block; it increases
      linearly from 0 in the first block. All rates may be traced scalars.
    remat: whether to rematerialize blocks in the backward pass.
    scan: whether to run the blocks by `nn.scan`, see `layers.stack`.
    dtype: dtype of the computation; parameters and logits are float32.
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
      x: float images whose size is a multiple of `patch_size`.
      train: whether to apply dropout and stochastic depth.
      intermediates: whether to return intermediate activations.

    Returns:
      The logits. Without a head the tokens `[B, T, D]` (the class token
      first), or with a pooler the pair of tokens and pooled output `[B, D]`.
      With `intermediates` a pair of this and a dict of tuples: `hidden_states`
      `[B, T, D]`, the input of the first block and the output of each, and
      `attentions`, the weights `[B, H, T, T]` of each block.

    Raises:
      UserError: a field or the size of the images is invalid.
    """
    self._check(x)
    x = self._embed(x.astype(self.dtype))
    x = Dropout(self.dropout, name="dropout")(x, train=train)
    stacked = run_blocks(
      self,
      self._block,
      x,
      skip_rates=stochastic_depth_rates(self.stochastic_depth, self.depth),
      train=train,
      collect=intermediates,
    )
    output = self._output(self._norm()(name="norm")(stacked.x))
    return (output, block_intermediates(stacked)) if intermediates else output

  def _embed(self, x: Array) -> Array:
    """Maps images to tokens `[B, T, D]`."""
    x = PatchEmbed(
      self.width, self.patch_size, dtype=self.dtype, name="patches"
    )(x)
    batch, rows, columns, _ = x.shape
    x = x.reshape(batch, rows * columns, self.width)
    leading = int(self.pool == "class")
    if leading:
      token = self.param("class_token", normal, (1, 1, self.width))
      token = jnp.broadcast_to(token, (batch, 1, self.width))
      x = jnp.concatenate([token.astype(self.dtype), x], 1)
    grid = (rows, columns)
    table_grid = self._table_grid() or grid
    shape = (1, leading + table_grid[0] * table_grid[1], self.width)
    self._check_table(shape, grid)
    table = self.param("position", normal, shape)[0]
    table = resize_table(table, table_grid, grid, leading=leading)
    return x + table.astype(self.dtype)

  def _table_grid(self) -> tuple[int, int] | None:
    """Returns the grid of patches of the position embedding, if configured."""
    if not self.image_size:
      return None
    rows, columns = (
      (self.image_size,) * 2
      if isinstance(self.image_size, int)
      else self.image_size
    )
    return rows // self.patch_size, columns // self.patch_size

  def _block(self, name: str) -> TransformerBlock:
    options = {
      "dtype": self.dtype,
      "kernel_init": nn.initializers.xavier_uniform(),
    }
    return TransformerBlock(
      attention=partial(
        Attention,
        self.num_heads,
        use_bias=self.qkv_bias,
        out_bias=True,
        dropout=self.attention_dropout,
        **options,
      ),
      feedforward=partial(
        FeedForward,
        self.mlp_dim or 4 * self.width,
        self.activation,
        dropout=self.dropout,
        **options,
      ),
      norm=self._norm(),
      dropout=self.dropout,
      name=name,
    )

  def _norm(self) -> Callable[..., nn.Module]:
    # The barrier makes a step on CPU 0.7 times as long, see `LayerNorm`.
    return partial(LayerNorm, self.eps, dtype=self.dtype, barrier=True)

  def _output(self, x: Array) -> Any:
    pooled = x[:, 0] if self.pool == "class" else x.mean(1)
    if self.pooler:
      dense = nn.Dense(
        self.width, dtype=self.dtype, kernel_init=normal, name="pooler"
      )
      pooled = jnp.tanh(dense(pooled))
    if self.head is None:
      return (x, pooled) if self.pooler else x
    return output_layer(self, self.num_classes, kernel_init=normal)(pooled)

  def _check(self, x: Array) -> None:
    check_fields(self)
    check_at_least(self, 1, "patch_size", "width", "depth", "num_heads")
    check_at_least(self, 0, "mlp_dim")
    if self.image_size:
      check_at_least(self, self.patch_size, "image_size")
    check_choice("pool", self.pool, ("class", "mean"))
    check_head(self, "classifier")
    check_images(x, min_size=self.patch_size)

  def _check_table(self, shape: tuple[int, int, int], grid) -> None:
    if not self.has_variable("params", "position"):
      return
    stored = self.get_variable("params", "position").shape
    if stored != shape:
      raise UserError(
        f"expected images with {stored[1]} tokens, as at init",
        f"got {shape[1]} tokens, {grid[0]}x{grid[1]} patches",
        "set image_size to the size at init to resize the position embedding",
      )

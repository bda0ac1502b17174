"""The encoder or the decoder of an encoder-decoder."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dlcore.layers import Dropout, Stacked, mask_and_positions
from dlcore.models.transformer_block import TransformerBlock, run_blocks
from dlcore.typing import Array


class TransformerStack(nn.Module):
  """Adds position encodings and runs a stack of transformer blocks.

  Attributes:
    block: makes a block; called with `name`.
    depth: number of blocks.
    norm: makes the norm after the last block, or None for no norm.
    position_table: makes the position encodings, `[max_length, D]`.
    dropout: dropout rate of the embeddings, a number or a traced scalar.
    remat: whether to rematerialize blocks in the backward pass.
    scan: whether to run the blocks by `nn.scan`, see `layers.stack`.
  """

  block: Callable[..., TransformerBlock]
  depth: int
  norm: Callable[..., nn.Module] | None
  position_table: Callable[[], np.ndarray]
  dropout: float | Array = 0.0
  remat: bool = False
  scan: bool = False

  @nn.compact
  def __call__(
    self,
    x: Array,
    context: Array | None = None,
    *,
    attention_mask: Array | None = None,
    context_mask: Array | None = None,
    causal: bool = False,
    train: bool,
    decode: bool = False,
    collect: bool = False,
  ) -> Stacked:
    """Maps embeddings `[B, T, D]` to `[B, T, D]`.

    Args:
      x: embeddings without positions.
      context: `[B, S, D']`, input of keys and values of cross-attention; None
        for blocks without cross-attention.
      attention_mask: `[B, T]`, 0 for padding; None if there is no padding.
      context_mask: mask of cross-attention, see `layers.Attention`.
      causal: whether token t attends to tokens 0 to t only.
      train: whether to apply dropout.
      decode: whether `x` continues the cached tokens, see `layers.Attention`.
      collect: whether to return hidden states and attention weights.

    Returns:
      See `run_blocks`.
    """
    mask, positions = mask_and_positions(self, x, attention_mask, decode=decode)
    x = x + jnp.asarray(self.position_table(), x.dtype)[positions]
    x = Dropout(self.dropout, name="dropout")(x, train=train)
    stacked = run_blocks(
      self,
      self.block,
      x,
      context,
      mask=mask,
      context_mask=context_mask,
      causal=causal,
      train=train,
      decode=decode,
      collect=collect,
    )
    if self.norm is None:
      return stacked
    return stacked._replace(x=self.norm(name="norm")(stacked.x))

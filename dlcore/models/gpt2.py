"""GPT-2: a transformer decoder.

Radford et al. 2019, "Language models are unsupervised multitask learners".
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.layers import (
  Attention,
  Dropout,
  Embed,
  FeedForward,
  LayerNorm,
  mask_and_positions,
)
from dlcore.models.decoder_head import HEADS, decoder_output
from dlcore.models.field_checks import (
  InheritedRate,
  check_at_least,
  check_fields,
  check_head,
  inherited,
)
from dlcore.models.input_checks import check_packing, check_token_ids
from dlcore.models.transformer_block import (
  TransformerBlock,
  block_intermediates,
  run_blocks,
)
from dlcore.typing import Array

normal = nn.initializers.normal


class GPT2(nn.Module):
  """Maps token ids to logits by causal attention.

  Attributes:
    num_classes: number of classes; 1 in regression.
    head: "lm" predicts the next token, with tied embeddings; "classifier"
      classifies sequences by their last token; None returns the tokens.
    vocab_size: number of token ids, V.
    width: D.
    depth: number of blocks.
    num_heads: number of attention heads.
    mlp_dim: width of the feed-forward networks; 0 means 4 times `width`.
    max_length: maximum sequence length.
    activation: a key of `ACTIVATIONS`, for the feed-forward networks.
    eps: added to the variance in the norms.
    dropout: dropout rate of the output of each sublayer.
    attention_dropout: dropout rate of the attention weights.
    embedding_dropout: dropout rate of the embeddings; -1 means `dropout`. All
      rates may be traced scalars.
    remat: whether to rematerialize blocks in the backward pass.
    scan: whether to run the blocks by `nn.scan`, see `layers.stack`.
    dtype: dtype of the computation; parameters and logits are float32.
  """

  num_classes: int | None = None
  head: str | None = "lm"
  vocab_size: int = 50_257
  width: int = 768
  depth: int = 12
  num_heads: int = 12
  mlp_dim: int = 0
  max_length: int = 1024
  activation: str = "gelu"
  eps: float = 1e-5
  dropout: float | Array = 0.0
  attention_dropout: float | Array = 0.0
  embedding_dropout: InheritedRate = -1.0
  remat: bool = False
  scan: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    input_ids: Array,
    *,
    attention_mask: Array | None = None,
    token_type_ids: Array | None = None,
    segment_ids: Array | None = None,
    positions: Array | None = None,
    train: bool,
    decode: bool = False,
    intermediates: bool = False,
  ) -> Any:
    """Maps ids `[B, T]` to float32 `[B, T, V]` or `[B, C]`.

    Args:
      input_ids: int.
      attention_mask: `[B, T]`, 0 for padding; None if there is no padding.
        Positions do not count padding, so padding on either side does not
        change the output.
      token_type_ids: int `[B, T]`, whose word embeddings are added to those of
        `input_ids`.
      segment_ids: int `[B, T]`, the number of the sequence of each token in a
        packed row, 0 for padding. Tokens attend inside of their segment.
      positions: int `[T]` or `[B, T]`; by default the number of preceding
        tokens of the sequence.
      train: whether to apply dropout.
      decode: whether the ids continue those in the collection "cache". The
        first such call creates the cache with the length of its input.
      intermediates: whether to return intermediate activations.

    Returns:
      The logits, or without a head the tokens `[B, T, D]`. With
      `intermediates` a pair of this and a dict of tuples: `hidden_states`
      `[B, T, D]`, the input of the first block and the output of each, and
      `attentions`, the weights `[B, H, T, S]` of each block.

    Raises:
      UserError: a field or the shape of an input is invalid.
    """
    self._check(input_ids, token_type_ids, segment_ids)
    check_packing(self, segment_ids, decode=decode)
    word_embedding = self._embedding(self.vocab_size, 0.02, "word_embedding")
    position_embedding = self._embedding(
      self.max_length, 0.01, "position_embedding"
    )
    mask, positions = mask_and_positions(
      self,
      input_ids,
      attention_mask,
      segment_ids=segment_ids,
      positions=positions,
      decode=decode,
    )
    x = word_embedding(input_ids) + position_embedding(positions)
    if token_type_ids is not None:
      x = x + word_embedding(token_type_ids)
    rate = inherited(self.embedding_dropout, self.dropout)
    x = Dropout(rate, name="dropout")(x, train=train)
    stacked = run_blocks(
      self,
      self._block,
      x,
      mask=mask,
      causal=True,
      train=train,
      decode=decode,
      collect=intermediates,
    )
    x = self._norm()(name="norm")(stacked.x)
    y = decoder_output(self, x, word_embedding.embedding, attention_mask)
    return (y, block_intermediates(stacked)) if intermediates else y

  def _embedding(self, count: int, stddev: float, name: str) -> nn.Embed:
    return Embed(
      count,
      self.width,
      dtype=self.dtype,
      embedding_init=normal(stddev),
      name=name,
    )

  def _norm(self) -> Callable[..., nn.Module]:
    return partial(LayerNorm, self.eps, dtype=self.dtype)

  def _block(self, name: str) -> TransformerBlock:
    options = {
      "dtype": self.dtype,
      "kernel_init": normal(0.02),
      # Section 2.3: the sum of 2 * depth residual branches then has a variance
      # that does not increase with the depth.
      "out_init": normal(0.02 / (2 * self.depth) ** 0.5),
    }
    return TransformerBlock(
      attention=partial(
        Attention, self.num_heads, dropout=self.attention_dropout, **options
      ),
      feedforward=partial(
        FeedForward,
        self.mlp_dim or 4 * self.width,
        self.activation,
        **options,
      ),
      norm=self._norm(),
      dropout=self.dropout,
      name=name,
    )

  def _check(self, input_ids, token_type_ids, segment_ids) -> None:
    check_fields(self)
    sizes = ("vocab_size", "width", "depth", "num_heads", "max_length")
    check_at_least(self, 1, *sizes)
    check_at_least(self, 0, "mlp_dim")
    check_head(self, *HEADS)
    check_token_ids(
      input_ids,
      max_length=self.max_length,
      token_type_ids=token_type_ids,
      segment_ids=segment_ids,
    )

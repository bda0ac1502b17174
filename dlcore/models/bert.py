"""BERT: a bidirectional transformer encoder.

Devlin et al. 2019, arXiv:1810.04805. Other settings give DistilBERT (Sanh et
al. 2019, arXiv:1910.01108) and MiniLM (Wang et al. 2020, arXiv:2002.10957).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import check_choice, lookup
from dlcore.layers import (
  ACTIVATIONS,
  POOLINGS,
  Attention,
  Dropout,
  Embed,
  FeedForward,
  LayerNorm,
  padding_mask,
  pool_tokens,
  segment_mask,
  segment_positions,
)
from dlcore.models.field_checks import check_at_least, check_fields, check_head
from dlcore.models.input_checks import (
  check_no_token_types,
  check_packing,
  check_token_ids,
)
from dlcore.models.output_layers import embedding_logits, output_layer
from dlcore.models.transformer_block import (
  TransformerBlock,
  block_intermediates,
  run_blocks,
)
from dlcore.typing import Array

normal = nn.initializers.normal(0.02)
HEADS = ("classifier", "embedding", "mlm", "tokens")


class Bert(nn.Module):
  """Maps token ids to logits by bidirectional attention.

  Attributes:
    num_classes: number of classes; 1 in regression.
    head: "classifier" of sequences, "tokens", a classifier of each token,
      "mlm", which predicts masked tokens, "embedding" to return the pooled
      tokens of a sequence, or None to return the tokens.
    vocab_size: number of token ids, V.
    width: D.
    depth: number of blocks.
    num_heads: number of attention heads.
    mlp_dim: width of the feed-forward networks; 0 means 4 times `width`.
    max_length: maximum sequence length.
    num_token_types: number of token types (segments); 0 for a model without
      `token_type_ids`.
    pooler: whether a model without a head also returns the pooled output.
    pooler_activation: a key of `ACTIVATIONS`, applied after the dense layer
      that maps the first token. Classifiers of sequences and embeddings have
      it unless there are `poolings`.
    poolings: keys of `POOLINGS`, whose outputs are joined, in place of the
      pooler in classifiers of sequences and embeddings.
    normalize: whether these pooled tokens are divided by their norm.
    activation: a key of `ACTIVATIONS`, for the feed-forward networks.
    eps: added to the variance in the norms.
    dropout: dropout rate of the embeddings and of the output of each sublayer.
    attention_dropout: dropout rate of the attention weights.
    head_dropout: dropout rate before the output layer. All rates may be traced
      scalars.
    remat: whether to rematerialize blocks in the backward pass.
    scan: whether to run the blocks by `nn.scan`, see `layers.stack`.
    dtype: dtype of the computation; parameters and logits are float32.
  """

  num_classes: int | None = None
  head: str | None = "classifier"
  vocab_size: int = 30_522
  width: int = 768
  depth: int = 12
  num_heads: int = 12
  mlp_dim: int = 0
  max_length: int = 512
  num_token_types: int = 2
  pooler: bool = True
  pooler_activation: str = "tanh"
  poolings: tuple = ()
  normalize: bool = False
  activation: str = "gelu_exact"
  eps: float = 1e-12
  dropout: float | Array = 0.0
  attention_dropout: float | Array = 0.0
  head_dropout: float | Array = 0.0
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
    intermediates: bool = False,
  ) -> Any:
    """Maps token ids `[B, T]` to logits or features, float32.

    Args:
      input_ids: int.
      attention_mask: `[B, T]`, 0 for padding; None if there is no padding.
      token_type_ids: int `[B, T]`, 0 by default.
      segment_ids: int `[B, T]`, the number of the sequence of each token in a
        packed row, 0 for padding. Sequences do not see each other.
      positions: int `[T]` or `[B, T]`; by default 0 to T - 1, which includes
        padding, or those of the segments.
      train: whether to apply dropout.
      intermediates: whether to return intermediate activations.

    Returns:
      The logits `[B, C]`, `[B, T, C]` or `[B, T, V]`, or the embeddings
      `[B, D]`. Without a head the tokens `[B, T, D]`, or with a pooler the pair
      of tokens and pooled output `[B, D]`. With `intermediates` a pair of
      this and a dict of tuples: `hidden_states` `[B, T, D]`, the input of the
      first block and the output of each, and `attentions`, the weights
      `[B, H, T, T]` of each block.

    Raises:
      UserError: a field or the shape of an input is invalid.
    """
    self._check(input_ids, token_type_ids, segment_ids)
    word_embedding = self._embedding(self.vocab_size, "word_embedding")
    position_embedding = self._embedding(self.max_length, "position_embedding")
    mask = padding_mask(attention_mask, input_ids.shape)
    if positions is None:
      positions = jnp.arange(input_ids.shape[1])
      if segment_ids is not None:
        positions = segment_positions(segment_ids)
    if segment_ids is not None:
      same = segment_mask(segment_ids)
      mask = same if mask is None else mask & same
    x = word_embedding(input_ids) + position_embedding(positions)
    if self.num_token_types:
      if token_type_ids is None:
        token_type_ids = jnp.zeros_like(input_ids)
      embedding = self._embedding(self.num_token_types, "token_type_embedding")
      x += embedding(token_type_ids)
    x = self._norm()(name="embedding_norm")(x)
    x = Dropout(self.dropout, name="dropout")(x, train=train)
    stacked = run_blocks(
      self, self._block, x, mask=mask, train=train, collect=intermediates
    )
    padding = attention_mask
    if padding is None:
      padding = jnp.ones(input_ids.shape)
    output = self._output(stacked.x, padding, word_embedding, train)
    return (output, block_intermediates(stacked)) if intermediates else output

  def _block(self, name: str) -> TransformerBlock:
    options = {"dtype": self.dtype, "kernel_init": normal}
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
      pre_norm=False,
      dropout=self.dropout,
      name=name,
    )

  def _output(
    self, x: Array, mask: Array, word_embedding: nn.Embed, train: bool
  ) -> Any:
    if self.head == "mlm":
      return self._token_logits(x, word_embedding)
    pooled, pools = x, self.head in ("classifier", "embedding")
    if pools and self.poolings:
      pooled = pool_tokens(x, mask, self.poolings, normalize=self.normalize)
    elif pools or (self.head is None and self.pooler):
      activation = lookup(ACTIVATIONS, self.pooler_activation, "activation")
      pooled = activation(self._dense(self.width, "pooler")(x[:, 0]))
    if self.head == "embedding":
      return pooled.astype(jnp.float32)
    if self.head is None:
      return (x, pooled) if self.pooler else x
    x = Dropout(self.head_dropout, name="head_dropout")(pooled, train=train)
    return output_layer(self, self.num_classes, kernel_init=normal)(x)

  def _token_logits(self, x: Array, word_embedding: nn.Embed) -> Array:
    """Maps tokens to logits `[B, T, V]`, with tied embeddings."""
    activation = lookup(ACTIVATIONS, self.activation, "activation")
    x = activation(self._dense(self.width, "mlm_dense")(x))
    x = self._norm()(name="mlm_norm")(x)
    zeros = nn.initializers.zeros_init()
    bias = self.param("mlm_bias", zeros, (self.vocab_size,))
    return embedding_logits(x, word_embedding.embedding) + bias

  def _norm(self) -> Callable[..., nn.Module]:
    return partial(LayerNorm, self.eps, dtype=self.dtype)

  def _embedding(self, count: int, name: str) -> nn.Embed:
    return Embed(
      count, self.width, dtype=self.dtype, embedding_init=normal, name=name
    )

  def _dense(self, features: int, name: str) -> nn.Dense:
    return nn.Dense(features, dtype=self.dtype, kernel_init=normal, name=name)

  def _check(self, input_ids, token_type_ids, segment_ids) -> None:
    check_fields(self)
    sizes = ("vocab_size", "width", "depth", "num_heads", "max_length")
    check_at_least(self, 1, *sizes)
    check_at_least(self, 0, "num_token_types", "mlp_dim")
    check_head(self, *HEADS)
    for pooling in self.poolings:
      check_choice("poolings", pooling, POOLINGS)
    check_token_ids(
      input_ids,
      max_length=self.max_length,
      token_type_ids=token_type_ids,
      segment_ids=segment_ids,
    )
    check_packing(self, segment_ids, decode=False)
    if not self.num_token_types:
      check_no_token_types(token_type_ids)

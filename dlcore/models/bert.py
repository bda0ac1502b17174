"""BERT: a text is read in both directions at once.

Devlin et al. 2019, arXiv:1810.04805. With other settings DistilBERT (Sanh et
al. 2019, arXiv:1910.01108) and MiniLM (Wang et al. 2020, arXiv:2002.10957).
"""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import lookup
from dlcore.layers import (
  ACTIVATIONS,
  Attention,
  Dropout,
  Embed,
  FeedForward,
  LayerNorm,
  bool_mask,
  padding_mask,
  stack,
)
from dlcore.models import checks
from dlcore.models.common import logits, scores
from dlcore.typing import Array

normal = nn.initializers.normal(0.02)
HEADS = ("classifier", "mlm", "tokens")


class Bert(nn.Module):
  """Maps token ids to logits by attention among all tokens.

  Attributes:
    num_classes: width of the output of a classifier (1 in regression).
    head: "classifier" of texts, "tokens", a classifier of each token, "mlm",
      which predicts hidden tokens, or None for what leaves the last block.
    vocab_size: number of token ids, V.
    width: D of the tokens.
    depth: number of blocks.
    num_heads: of each attention.
    mlp_dim: width within the feed-forward layers; 0 is 4 times `width`.
    max_length: the greatest number of tokens.
    num_token_types: number of kinds of segments; with 0 there are no
      `token_type_ids`.
    pooler: whether a model without a head returns a pooled text too.
    pooler_activation: a name of `ACTIVATIONS`, after the dense layer that
      maps the first token; a classifier of texts has it always.
    activation: a name of `ACTIVATIONS`, of the feed-forward layers.
    eps: of the norms.
    dropout: rate of tokens and of what leaves each branch of a block.
    attention_dropout: rate of the weights of attention.
    head_dropout: rate before the output layer. All may be traced scalars.
    remat: whether the backward pass computes blocks again, to save memory.
    scan: whether the blocks are one that is scanned, see `layers.stack`.
    dtype: of the arithmetic; parameters and logits are float32.
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
    positions: Array | None = None,
    train: bool,
    intermediates: bool = False,
  ) -> Any:
    """Maps ids `[B, T]` to float32 `[B, C]`, or `[B, T, C]` or `[B, T, V]`.

    Args:
      input_ids: int.
      attention_mask: `[B, T]`, 1 for tokens that are seen, all by default.
      token_type_ids: int `[B, T]`, the segment of each token, 0 by default.
      positions: int `[T]` or `[B, T]`, counted from the first token by
        default, padding or not.
      train: whether to drop.
      intermediates: whether to return what blocks pass on, too.

    Returns:
      The logits; without a head the tokens `[B, T, D]`, with a pooler the
      pair of them and `[B, D]`. With `intermediates` the pair of this and a
      dict of tuples, `hidden_states` `[B, T, D]` before the first and after
      each block, and `attentions`, of each block the weights `[B, H, T, T]`.

    Raises:
      UserError: a setting or the shape of the ids cannot be.
    """
    self._check(input_ids, token_type_ids)
    words = self._embedding(self.vocab_size, "word_embedding")
    x = words(input_ids) + self._places(input_ids, positions)
    if self.num_token_types:
      kinds = self._embedding(self.num_token_types, "token_type_embedding")
      x += kinds(_or_zeros(token_type_ids, input_ids))
    x = _norm(self, "embedding_norm")(x)
    x = Dropout(self.dropout, name="dropout")(x, train=train)
    mask = None
    if attention_mask is not None:
      mask = padding_mask(bool_mask(attention_mask, input_ids.shape))

    def run(block, x, _):
      return block(x, mask, train=train, weights=intermediates)

    x, states, maps = stack(
      run,
      self._block,
      self.depth,
      x,
      scan=self.scan,
      remat=self.remat,
      collect=intermediates,
    )
    output = self._output(x, words, train)
    if not intermediates:
      return output
    return output, {"hidden_states": states, "attentions": maps}

  def _places(self, input_ids: Array, positions: Array | None) -> Array:
    embedding = self._embedding(self.max_length, "position_embedding")
    if positions is None:
      positions = jnp.arange(input_ids.shape[1])
    return embedding(positions)

  def _block(self, name: str) -> nn.Module:
    return Block(
      num_heads=self.num_heads,
      mlp_dim=self.mlp_dim or 4 * self.width,
      activation=self.activation,
      eps=self.eps,
      dropout=self.dropout,
      attention_dropout=self.attention_dropout,
      dtype=self.dtype,
      name=name,
    )

  def _output(self, x: Array, words: nn.Embed, train: bool) -> Any:
    if self.head == "mlm":
      return self._words(x, words)
    pooled = x
    if self.head == "classifier" or (self.head is None and self.pooler):
      activation = lookup(ACTIVATIONS, self.pooler_activation, "activation")
      pooled = activation(self._dense(self.width, "pooler")(x[:, 0]))
    if self.head is None:
      return (x, pooled) if self.pooler else x
    x = Dropout(self.head_dropout, name="head_dropout")(pooled, train=train)
    return logits(self, self.num_classes, kernel_init=normal)(x)

  def _words(self, x: Array, words: nn.Embed) -> Array:
    """Maps tokens to logits `[B, T, V]` by the embedding of the words."""
    activation = lookup(ACTIVATIONS, self.activation, "activation")
    x = activation(self._dense(self.width, "mlm_dense")(x))
    x = _norm(self, "mlm_norm")(x)
    zeros = nn.initializers.zeros_init()
    bias = self.param("mlm_bias", zeros, (self.vocab_size,))
    return scores(x, words.embedding) + bias

  def _embedding(self, count: int, name: str) -> nn.Embed:
    return Embed(
      count, self.width, dtype=self.dtype, embedding_init=normal, name=name
    )

  def _dense(self, features: int, name: str) -> nn.Dense:
    return nn.Dense(features, dtype=self.dtype, kernel_init=normal, name=name)

  def _check(self, input_ids, token_type_ids) -> None:
    checks.settings(self)
    checks.at_least(
      1,
      vocab_size=self.vocab_size,
      width=self.width,
      depth=self.depth,
      num_heads=self.num_heads,
      max_length=self.max_length,
    )
    checks.at_least(
      0, num_token_types=self.num_token_types, mlp_dim=self.mlp_dim
    )
    checks.head(self, *HEADS)
    checks.token_ids(
      input_ids, max_length=self.max_length, token_type_ids=token_type_ids
    )
    if not self.num_token_types:
      checks.no_types(token_type_ids)


class Block(nn.Module):
  """Attention and feed-forward layers, each normalised with its shortcut."""

  num_heads: int
  mlp_dim: int
  activation: str = "gelu_exact"
  eps: float = 1e-12
  dropout: float | Array = 0.0
  attention_dropout: float | Array = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: Array, mask: Array | None, *, train: bool, weights: bool
  ) -> tuple[Array, Array | None]:
    """Maps `[B, T, D]` to the same, beside the attention's weights if asked.

    Args:
      x: tokens.
      mask: of `layers.padding_mask`.
      train: whether to drop.
      weights: whether to return the weights `[B, H, T, T]`.
    """
    drop = Dropout(self.dropout, name="dropout")
    attend = Attention(
      self.num_heads,
      dropout=self.attention_dropout,
      dtype=self.dtype,
      kernel_init=normal,
      name="attention",
    )
    feed = FeedForward(
      self.mlp_dim,
      self.activation,
      dtype=self.dtype,
      kernel_init=normal,
      name="feedforward",
    )
    y = attend(x, mask=mask, train=train, weights=weights)
    y, maps = y if weights else (y, None)
    x = _norm(self, "attention_norm")(x + drop(y, train=train))
    y = drop(feed(x, train=train), train=train)
    return _norm(self, "feedforward_norm")(x + y), maps


def _norm(module, name: str) -> nn.LayerNorm:
  return LayerNorm(module.eps, dtype=module.dtype, name=name)


def _or_zeros(ids: Array | None, like: Array) -> Array:
  return jnp.zeros_like(like) if ids is None else ids

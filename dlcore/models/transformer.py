"""The encoder-decoder of "Attention is all you need".

Vaswani et al. 2017, arXiv:1706.03762. With other settings it is that of
Marian (Junczys-Dowmunt et al. 2018, arXiv:1804.00344), as published for
translation (Tiedemann & Thottingal 2020, "OPUS-MT").
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import UserError
from dlcore.layers import (
  Attention,
  Embed,
  FeedForward,
  LayerNorm,
  bool_mask,
  padding_mask,
  sinusoidal,
)
from dlcore.models import checks
from dlcore.models.blocks import Block, Side, seen
from dlcore.models.common import scores
from dlcore.typing import Array

LONGEST = 1 << 17
"""The most positions; a table of all of them is computed."""


class Transformer(nn.Module):
  """Maps the ids of two texts to logits of the second one's next tokens.

  Attributes:
    num_classes: has no meaning here.
    head: "lm" predicts the token after each of the second text, by the table
      of its words; None leaves the tokens.
    vocab_size: number of token ids of the first text.
    target_vocab_size: of the second text, V; 0 shares ids and table.
    width: D of the tokens.
    depth: number of blocks of the encoder.
    decoder_depth: of the decoder, 0 is `depth`.
    num_heads: of each attention of the encoder.
    decoder_num_heads: of the decoder, 0 is `heads`.
    mlp_dim: width within the feed-forward layers of the encoder.
    decoder_mlp_dim: of the decoder, 0 is `hidden`.
    max_length: the greatest number of tokens of a text.
    activation: a name of `ACTIVATIONS`, of the feed-forward layers.
    pre_norm: whether norms come before their layers, and one at the end
      (Xiong et al. 2020, arXiv:2002.04745), not after them.
    scale_embeddings: whether the table of the words is multiplied by sqrt(D).
    sines_first: whether all sines of a position come before its cosines.
    logits_bias: whether logits have learned biases.
    eps: of the norms.
    dropout: rate of tokens and of what leaves each branch of a block.
    attention_dropout: rate of the weights of attention.
    activation_dropout: rate within the feed-forward layers. All may be traced
      scalars.
    remat: whether the backward pass computes blocks again, to save memory.
    scan: whether the blocks are one that is scanned, see `layers.stack`.
    dtype: of the arithmetic; parameters and logits are float32.
  """

  num_classes: int | None = None
  head: str | None = "lm"
  vocab_size: int = 37_000
  target_vocab_size: int = 0
  width: int = 512
  depth: int = 6
  decoder_depth: int = 0
  num_heads: int = 8
  decoder_num_heads: int = 0
  mlp_dim: int = 2048
  decoder_mlp_dim: int = 0
  max_length: int = 1024
  activation: str = "relu"
  pre_norm: bool = False
  scale_embeddings: bool = True
  sines_first: bool = False
  logits_bias: bool = False
  eps: float = 1e-5
  dropout: float | Array = 0.0
  attention_dropout: float | Array = 0.0
  activation_dropout: float | Array = 0.0
  remat: bool = False
  scan: bool = False
  dtype: Any = jnp.float32

  def setup(self):
    """Makes tables of words, encoder and decoder."""
    self._check()
    self.word_embedding = self._words(self.vocab_size)
    if self.target_vocab_size:
      self.target_embedding = self._words(self.target_vocab_size)
    self.encoder = self._side(self.depth, self.num_heads, self.mlp_dim)
    self.decoder = self._side(
      self.decoder_depth or self.depth,
      self.decoder_num_heads or self.num_heads,
      self.decoder_mlp_dim or self.mlp_dim,
    )
    if self.logits_bias and self.head == "lm":
      count = self.target_vocab_size or self.vocab_size
      zeros = nn.initializers.zeros_init()
      self.output_bias = self.param("logits_bias", zeros, (count,))

  def __call__(
    self,
    input_ids: Array,
    decoder_input_ids: Array,
    *,
    attention_mask: Array | None = None,
    train: bool,
    decode: bool = False,
    intermediates: bool = False,
  ) -> Any:
    """Maps ids `[B, S]` and `[B, T]` to float32 `[B, T, V]`.

    Args:
      input_ids: int, the first text.
      decoder_input_ids: int, the second text, a start before each token.
      attention_mask: `[B, S]`, 1 for kept tokens of the first text, all by
        default. Positions count these, so that padding on either side changes
        nothing. Padding after the second text needs no mask.
      train: whether to drop.
      decode: see the method `decode`.
      intermediates: whether to return what blocks pass on, too.

    Returns:
      The logits, or without a head the tokens `[B, T, D]`. With
      `intermediates` the pair of this and a dict of tuples:
      `encoder_hidden_states`, `encoder_attentions`, `decoder_hidden_states`,
      `decoder_attentions` and `cross_attentions`.

    Raises:
      UserError: a setting or the shape of the ids cannot be.
    """
    how = {"train": train, "intermediates": intermediates}
    encoded = self.encode(input_ids, attention_mask=attention_mask, **how)
    if not intermediates:
      return self.decode(
        decoder_input_ids, encoded, attention_mask, decode=decode, **how
      )
    encoded, notes = encoded
    y, more = self.decode(
      decoder_input_ids, encoded, attention_mask, decode=decode, **how
    )
    return y, notes | more

  def encode(
    self,
    input_ids: Array,
    *,
    attention_mask: Array | None = None,
    train: bool,
    intermediates: bool = False,
  ) -> Any:
    """Maps ids `[B, S]` to tokens `[B, S, D]`; arguments as in `__call__`."""
    checks.token_ids(input_ids, max_length=self.max_length)
    stacked = self.encoder(
      self._scaled(self.word_embedding(input_ids)),
      attention_mask=attention_mask,
      train=train,
      collect=intermediates,
    )
    x = stacked.x
    return (x, seen(stacked, "encoder_")) if intermediates else x

  def decode(
    self,
    decoder_input_ids: Array,
    encoded: Array,
    attention_mask: Array | None = None,
    *,
    train: bool,
    decode: bool = False,
    intermediates: bool = False,
  ) -> Any:
    """Maps ids `[B, T]` to logits `[B, T, V]`, given the first text.

    Args:
      decoder_input_ids: int.
      encoded: `[B, S, D]`, what `encode` returns.
      attention_mask: `[B, S]`, of the first text.
      train: whether to drop.
      decode: whether the ids go on from those in the collection "cache". The
        first such call makes the cache, for as many tokens as it is given,
        and for this `encoded`: it is not looked at again.
      intermediates: whether to return what blocks pass on, too.
    """
    checks.token_ids(decoder_input_ids, max_length=self.max_length)
    checks.same_rows(decoder_input_ids, encoded)
    words = self.word_embedding
    if self.target_vocab_size:
      words = self.target_embedding
    mask = None
    if attention_mask is not None:
      mask = padding_mask(bool_mask(attention_mask, encoded.shape[:2]))
    stacked = self.decoder(
      self._scaled(words(decoder_input_ids)),
      encoded,
      context_mask=mask,
      causal=True,
      train=train,
      decode=decode,
      collect=intermediates,
    )
    y = stacked.x
    if self.head is not None:
      y = scores(y, words.embedding)
      y = y + self.output_bias if self.logits_bias else y
    return (y, seen(stacked, "decoder_")) if intermediates else y

  def _scaled(self, x: Array) -> Array:
    return x * self.width**0.5 if self.scale_embeddings else x

  def _words(self, count: int) -> nn.Embed:
    deviation = self.width**-0.5 if self.scale_embeddings else 0.02
    init = nn.initializers.normal(deviation)
    return Embed(count, self.width, dtype=self.dtype, embedding_init=init)

  def _side(self, depth: int, num_heads: int, mlp_dim: int) -> Side:
    numerics = {
      "dtype": self.dtype,
      "kernel_init": nn.initializers.glorot_uniform(),
    }
    norm = partial(LayerNorm, self.eps, dtype=self.dtype)
    block = partial(
      Block,
      attention=partial(
        Attention, num_heads, dropout=self.attention_dropout, **numerics
      ),
      feedforward=partial(
        FeedForward,
        mlp_dim,
        self.activation,
        dropout=self.activation_dropout,
        **numerics,
      ),
      norm=norm,
      pre_norm=self.pre_norm,
      dropout=self.dropout,
    )
    return Side(
      block,
      depth,
      norm=norm if self.pre_norm else None,
      positions=partial(
        sinusoidal, self.max_length, self.width, sines_first=self.sines_first
      ),
      dropout=self.dropout,
      remat=self.remat,
      scan=self.scan,
    )

  def _check(self) -> None:
    targets = {
      "target_vocab_size": self.target_vocab_size,
      "decoder_depth": self.decoder_depth,
      "decoder_num_heads": self.decoder_num_heads,
      "decoder_mlp_dim": self.decoder_mlp_dim,
    }
    checks.settings(self)
    checks.at_least(
      1,
      vocab_size=self.vocab_size,
      width=self.width,
      depth=self.depth,
      num_heads=self.num_heads,
      mlp_dim=self.mlp_dim,
      max_length=self.max_length,
      **{name: value for name, value in targets.items() if value},
    )
    if self.max_length > LONGEST:
      raise UserError(
        f"expected max_length of at most {LONGEST:,}, as many rows of sines",
        f"got {self.max_length:,}",
      )
    checks.head(self, "lm")

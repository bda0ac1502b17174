"""Recurrent encoder-decoders that translate with attention.

Bahdanau, Cho & Bengio 2015, arXiv:1409.0473, and Luong, Pham & Manning 2015,
arXiv:1508.04025.
"""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import UserError, lookup
from dlcore.layers import Dropout, Embed, Recurrent, bool_mask
from dlcore.models import checks
from dlcore.models.common import logits
from dlcore.models.seq2seq_decoder import ATTENTIONS, Decoder, Encoded
from dlcore.typing import Array


class Seq2Seq(nn.Module):
  """Maps the ids of two texts to logits of the second one's next tokens.

  With "additive" attention a step of the decoder's first layer begins with a
  look at the first text (Bahdanau); with "dot" and "general" the last layer
  looks at it after every step (Luong, without input feeding, so that all
  steps look at once). Either way what the last layer gives and what was seen
  go through one more layer of tanh before the output.

  Attributes:
    num_classes: has no meaning here.
    head: "lm" predicts the token after each of the second text; None leaves
      what goes into that output layer.
    vocab_size: number of token ids of the first text.
    target_vocab_size: of the second text, V; 0 shares ids and table.
    cell: "rnn", "rnn_relu", "lstm" or "gru".
    attention: "additive", "dot" or "general".
    width: D of words, layers and directions.
    depth: number of layers of the encoder and of the decoder.
    bidirectional: whether the encoder reads from the end, too.
    dropout: rate of words, between layers and before the output layer, a
      number or a traced scalar.
    remat: whether the backward pass computes layers again, to save memory.
    dtype: of the arithmetic; parameters and logits are float32.
  """

  num_classes: int | None = None
  head: str | None = "lm"
  vocab_size: int = 10_000
  target_vocab_size: int = 0
  cell: str = "gru"
  attention: str = "additive"
  width: int = 256
  depth: int = 1
  bidirectional: bool = True
  dropout: float | Array = 0.0
  remat: bool = False
  dtype: Any = jnp.float32

  def setup(self):
    """Makes tables of words, encoder and decoder."""
    self._check()
    self.word_embedding = self._words(self.vocab_size)
    if self.target_vocab_size:
      self.target_embedding = self._words(self.target_vocab_size)
    self.word_dropout = Dropout(self.dropout)
    settings = {
      "dropout": self.dropout,
      "remat": self.remat,
      "dtype": self.dtype,
    }
    shape = (self.cell, self.width, self.depth)
    self.encoder = Recurrent(
      *shape, bidirectional=self.bidirectional, **settings
    )
    self.decoder = Decoder(*shape, self.attention, **settings)
    if self.head is not None:
      count = self.target_vocab_size or self.vocab_size
      self.scores = logits(self, count)

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
        default. The others have no influence, wherever they are. Padding
        after the second text needs no mask.
      train: whether to drop.
      decode: see the method `decode`.
      intermediates: whether to return what layers pass on, too.

    Returns:
      The logits, or without a head `[B, T, D]`. With `intermediates` the pair
      of this and a dict of tuples: `encoder_hidden_states` and
      `decoder_hidden_states`, what enters the first layer and leaves each,
      and `cross_attentions`, the weights `[B, 1, T, S]`.

    Raises:
      UserError: a setting or the shape of the ids cannot be.
    """
    encoded = self.encode(input_ids, attention_mask=attention_mask, train=train)
    y, seen = self._decoded(
      decoder_input_ids, encoded, attention_mask, train, decode
    )
    seen |= {"encoder_hidden_states": encoded.states}
    return (y, seen) if intermediates else y

  def encode(
    self, input_ids: Array, *, attention_mask: Array | None = None, train: bool
  ) -> Encoded:
    """Reads the first text; arguments as in `__call__`."""
    checks.token_ids(input_ids)
    mask = None
    if attention_mask is not None:
      mask = bool_mask(attention_mask, input_ids.shape)
    x = self.word_dropout(self.word_embedding(input_ids), train=train)
    states, carry = self.encoder(x, mask=mask, train=train, every=True)
    return Encoded((x, *states), carry)

  def decode(
    self,
    decoder_input_ids: Array,
    encoded: Encoded,
    attention_mask: Array | None = None,
    *,
    train: bool,
    decode: bool = False,
  ) -> Array:
    """Maps ids `[B, T]` to logits `[B, T, V]`, given the first text.

    Args:
      decoder_input_ids: int.
      encoded: what `encode` returns.
      attention_mask: `[B, S]`, of the first text.
      train: whether to drop.
      decode: whether the ids go on from the carries in the collection
        "cache". The first such call makes the cache, for this `encoded`.
    """
    return self._decoded(
      decoder_input_ids, encoded, attention_mask, train, decode
    )[0]

  def _decoded(self, ids, encoded, attention_mask, train, decode):
    checks.token_ids(ids)
    checks.same_rows(ids, encoded.states[-1])
    words = self.word_embedding
    if self.target_vocab_size:
      words = self.target_embedding
    x = self.word_dropout(words(ids), train=train)
    mask = None
    if attention_mask is not None:
      mask = bool_mask(attention_mask, encoded.states[-1].shape[:2])
    y, states, weights = self.decoder(
      x, encoded, mask=mask, train=train, decode=decode
    )
    if self.head is not None:
      y = self.scores(y)
    return y, {
      "decoder_hidden_states": (x, *states),
      "cross_attentions": (weights[:, None],),
    }

  def _words(self, count: int) -> nn.Embed:
    return Embed(count, self.width, dtype=self.dtype)

  def _check(self) -> None:
    checks.settings(self)
    checks.at_least(
      1,
      vocab_size=self.vocab_size,
      target_vocab_size=self.target_vocab_size or 1,
      width=self.width,
      depth=self.depth,
    )
    lookup(dict.fromkeys(ATTENTIONS), self.attention, "attention")
    checks.head(self, "lm")
    if self.attention == "dot" and self.bidirectional:
      raise UserError(
        "expected one direction for attention='dot', as wide as the decoder",
        "got bidirectional=True",
        "set bidirectional=False or attention='general'",
      )

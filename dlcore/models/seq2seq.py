"""Recurrent encoder-decoders with attention.

Bahdanau, Cho & Bengio 2015, arXiv:1409.0473, and Luong, Pham & Manning 2015,
arXiv:1508.04025.
"""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import UserError, check_choice
from dlcore.layers import Dropout, Embed, Recurrent, bool_mask
from dlcore.models.encoder_decoder import EncoderDecoder
from dlcore.models.field_checks import check_at_least, check_fields, check_head
from dlcore.models.input_checks import check_decoder_batch, check_token_ids
from dlcore.models.output_layers import output_layer
from dlcore.models.seq2seq_decoder import (
  ATTENTIONS,
  AttentiveDecoder,
  Encoded,
)
from dlcore.typing import Array


class Seq2Seq(EncoderDecoder):
  """Maps source and target ids to logits of the next target tokens.

  With "additive" attention the first layer of the decoder attends to the source
  before each step (Bahdanau). With "dot" and "general" attention the outputs of
  the last layer attend to the source (Luong, without input feeding, so that all
  steps attend in one operation). In both cases a tanh layer combines the output
  of the last layer and the context before the output layer.

  Attributes:
    num_classes: unused.
    head: "lm" predicts the next target token; None returns the input of the
      output layer.
    vocab_size: number of source token ids.
    target_vocab_size: number of target token ids, V; 0 shares ids and
      embedding with the source.
    cell: "rnn", "rnn_relu", "lstm" or "gru".
    attention: "additive", "dot" or "general".
    width: D, width of embeddings, layers and directions.
    depth: number of layers of the encoder, and of the decoder.
    bidirectional: whether the encoder runs in both directions.
    dropout: dropout rate of word embeddings, between layers and before the
      output layer, a number or a traced scalar.
    recurrent_dropout: rate at which weights between successive states are
      dropped, see `layers.Recurrent`.
    remat: whether to rematerialize layers in the backward pass.
    dtype: dtype of the computation; parameters and logits are float32.
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
  recurrent_dropout: float | Array = 0.0
  remat: bool = False
  dtype: Any = jnp.float32

  def setup(self):
    """Makes word embeddings, encoder and decoder."""
    self._check()
    self.word_embedding = self._embedding(self.vocab_size)
    if self.target_vocab_size:
      self.target_embedding = self._embedding(self.target_vocab_size)
    self.word_dropout = Dropout(self.dropout)
    options = {
      "dropout": self.dropout,
      "recurrent_dropout": self.recurrent_dropout,
      "remat": self.remat,
      "dtype": self.dtype,
    }
    shape = (self.cell, self.width, self.depth)
    self.encoder = Recurrent(
      *shape, bidirectional=self.bidirectional, **options
    )
    self.decoder = AttentiveDecoder(*shape, self.attention, **options)
    if self.head is not None:
      count = self.target_vocab_size or self.vocab_size
      self.output_layer = output_layer(self, count)

  def _encode(self, input_ids, attention_mask, train, intermediates):
    """Returns an `Encoded`; see `EncoderDecoder`."""
    del intermediates  # They are part of it.
    check_token_ids(input_ids)
    mask = None
    if attention_mask is not None:
      mask = bool_mask(attention_mask, input_ids.shape)
    x = self.word_dropout(self.word_embedding(input_ids), train=train)
    states, carry = self.encoder(x, mask=mask, train=train, all_layers=True)
    encoded = Encoded((x, *states), carry)
    return encoded, {"encoder_hidden_states": encoded.states}

  def _decode(self, ids, encoded, attention_mask, train, decode, intermediates):
    del intermediates
    check_token_ids(ids)
    check_decoder_batch(ids, encoded.states[-1])
    x = self.word_dropout(self._target_embedding()(ids), train=train)
    mask = None
    if attention_mask is not None:
      mask = bool_mask(attention_mask, encoded.states[-1].shape[:2])
    y, states, weights = self.decoder(
      x, encoded, mask=mask, train=train, decode=decode
    )
    if self.head is not None:
      y = self.output_layer(y)
    return y, {
      "decoder_hidden_states": (x, *states),
      "cross_attentions": (weights[:, None],),
    }

  def _embedding(self, count: int) -> nn.Embed:
    return Embed(count, self.width, dtype=self.dtype)

  def _check(self) -> None:
    check_fields(self)
    check_at_least(self, 1, "vocab_size", "width", "depth")
    check_at_least(self, 0, "target_vocab_size")
    check_choice("attention", self.attention, ATTENTIONS)
    check_head(self, "lm")
    if self.attention == "dot" and self.bidirectional:
      raise UserError(
        "expected bidirectional=False for attention='dot', which needs an "
        "encoder as wide as the decoder",
        "got bidirectional=True",
        "set bidirectional=False or attention='general'",
      )

"""Recurrent networks for token ids and time series.

Elman 1990, "Finding structure in time"; Hochreiter & Schmidhuber 1997, "Long
short-term memory"; Cho et al. 2014, arXiv:1406.1078, for the GRU.
"""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import UserError
from dlcore.layers import Dropout, Embed, Recurrent, bool_mask
from dlcore.models.field_checks import check_at_least, check_fields, check_head
from dlcore.models.input_checks import (
  check_no_token_types,
  check_packing,
  check_series,
  check_token_ids,
)
from dlcore.models.output_layers import embedding_logits, output_layer
from dlcore.typing import Array


class RecurrentNetwork(nn.Module):
  """Maps token ids or time series to logits by recurrent layers.

  Forward-mode differentiation such as `jax.jvp` is supported with `layer_norm`
  only; see `layers.recur`.

  Attributes:
    num_classes: number of classes (1 in regression), or of outputs per step of
      a forecast (by default the number of features).
    cell: "rnn", "rnn_relu", "lstm" or "gru".
    head: "classifier" of the final state of each direction, "tokens", a
      classifier of each token or step, "lm", which predicts the next token,
      "forecaster", which predicts the next steps of a series, or None to return
      the outputs of the last layer.
    vocab_size: number of token ids, V; 0 for time series.
    width: D, width of each layer and direction, and of the word embedding.
    depth: number of layers.
    bidirectional: whether layers run in both directions.
    layer_norm: whether cells have layer norm, see `layers.Recurrent`.
    tie_embeddings: whether "lm" uses the word embedding as its output layer
      (Press & Wolf 2017, arXiv:1608.05859).
    horizon: number of steps of a forecast.
    dropout: dropout rate of word embeddings, between layers and before the
      output layer, a number or a traced scalar.
    recurrent_dropout: rate at which weights between successive states are
      dropped, see `layers.Recurrent`.
    unroll: number of time steps per iteration of the loop, see
      `layers.Recurrent`.
    remat: whether to rematerialize layers in the backward pass.
    dtype: dtype of the computation; parameters and logits are float32.
  """

  num_classes: int | None = None
  cell: str = "lstm"
  head: str | None = "classifier"
  vocab_size: int = 0
  width: int = 128
  depth: int = 1
  bidirectional: bool = False
  layer_norm: bool = False
  tie_embeddings: bool = False
  horizon: int = 1
  dropout: float | Array = 0.0
  recurrent_dropout: float | Array = 0.0
  unroll: int = 1
  remat: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    inputs: Array,
    *,
    attention_mask: Array | None = None,
    token_type_ids: Array | None = None,
    segment_ids: Array | None = None,
    positions: Array | None = None,
    train: bool,
    decode: bool = False,
    intermediates: bool = False,
  ) -> Any:
    """Maps `[B, T]` or `[B, T, F]` to float32 logits.

    Args:
      inputs: token ids, int `[B, T]`, or time series, float `[B, T, F]`.
      attention_mask: `[B, T]`, 0 for padding, at any position; None if there is
        no padding.
      token_type_ids: int `[B, T]`, whose word embeddings are added to those of
        `inputs`.
      segment_ids: int `[B, T]`, the number of the sequence of each token in a
        packed row, 0 for padding. Each segment begins with a carry of zeros.
      positions: not used; other language models take them with segments.
      train: whether to apply dropout.
      decode: whether to continue from the carry in the collection "cache". The
        first such call creates the cache.
      intermediates: whether to return intermediate activations.

    Returns:
      Logits: `[B, C]` for "classifier", `[B, T, C]` for "tokens", `[B, T, V]`
      for "lm", `[B, horizon, C]` for "forecaster"; without a head the outputs
      `[B, T, D]`. With `intermediates` a pair of this and a dict: the tuple
      `hidden_states`, the input of the first layer and the output of each, and
      the final `carry`, see `layers.Recurrent`.

    Raises:
      UserError: a field or the shape of an input is invalid.
    """
    del positions
    self._check(inputs, attention_mask, token_type_ids, segment_ids, decode)
    x, word_embedding = inputs, None
    if self.vocab_size:
      word_embedding = Embed(
        self.vocab_size, self.width, dtype=self.dtype, name="word_embedding"
      )
      x = word_embedding(inputs)
      if token_type_ids is not None:
        x = x + word_embedding(token_type_ids)
      x = Dropout(self.dropout, name="dropout")(x, train=train)
    mask = attention_mask
    if segment_ids is not None:
      tokens = segment_ids > 0
      mask = tokens if mask is None else tokens & mask.astype(bool)
    states, carry = Recurrent(
      self.cell,
      self.width,
      self.depth,
      bidirectional=self.bidirectional,
      layer_norm=self.layer_norm,
      dropout=self.dropout,
      recurrent_dropout=self.recurrent_dropout,
      unroll=self.unroll,
      remat=self.remat,
      dtype=self.dtype,
      name="recurrent",
    )(
      x,
      mask=mask,
      segment_ids=segment_ids,
      train=train,
      decode=decode,
      all_layers=True,
    )
    features = inputs.shape[-1]
    y = self._output(states[-1], carry, word_embedding, features, train)
    if not intermediates:
      return y
    return y, {"hidden_states": (x, *states), "carry": carry}

  def _output(self, x, carry, word_embedding, features: int, train: bool):
    if self.head is None:
      return x
    if self.head not in ("lm", "tokens"):
      directions = 2 if self.bidirectional else 1
      x = jnp.concatenate(carry[0][-directions:], axis=-1).astype(self.dtype)
    x = Dropout(self.dropout, name="head_dropout")(x, train=train)
    if self.head == "lm":
      return self._token_logits(x, word_embedding)
    if self.head in ("classifier", "tokens"):
      return output_layer(self, self.num_classes)(x)
    count = self.num_classes or features
    y = output_layer(self, self.horizon * count)(x)
    return y.reshape(x.shape[0], self.horizon, count)

  def _token_logits(self, x: Array, word_embedding: nn.Embed) -> Array:
    if not self.tie_embeddings:
      return output_layer(self, self.vocab_size)(x)
    zeros = nn.initializers.zeros_init()
    bias = self.param("logits_bias", zeros, (self.vocab_size,))
    return embedding_logits(x, word_embedding.embedding) + bias

  def _check(
    self, inputs, attention_mask, token_type_ids, segment_ids, decode
  ) -> None:
    check_fields(self)
    check_at_least(self, 1, "width", "depth", "horizon", "unroll")
    check_at_least(self, 0, "vocab_size")
    check_head(self, "classifier", "forecaster", "lm", "tokens")
    if self.vocab_size:
      check_token_ids(
        inputs,
        token_type_ids=token_type_ids,
        segment_ids=segment_ids,
        hint="set vocab_size=0 for time series",
      )
    else:
      check_series(inputs)
      check_no_token_types(token_type_ids)
    check_packing(self, segment_ids, decode=decode)
    if attention_mask is not None:
      bool_mask(attention_mask, inputs.shape[:2])
    if self.head == "lm" and not self.vocab_size:
      raise UserError(
        "expected vocab_size > 0 for head='lm'", "got vocab_size=0"
      )
    if self.head == "forecaster" and self.vocab_size:
      raise UserError(
        "expected time series (vocab_size=0) for head='forecaster'",
        f"got vocab_size={self.vocab_size}",
      )
    if self.bidirectional and (decode or self.head == "lm"):
      raise UserError(
        "expected bidirectional=False for the prediction of next tokens",
        "got bidirectional=True",
        "set bidirectional=False, or another head",
      )

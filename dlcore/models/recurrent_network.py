"""Recurrent networks: texts and series are read step by step.

Elman 1990, "Finding structure in time"; Hochreiter & Schmidhuber 1997, "Long
short-term memory"; Cho et al. 2014, arXiv:1406.1078, for the GRU.
"""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import UserError
from dlcore.layers import Dropout, Embed, Recurrent, bool_mask
from dlcore.models import checks
from dlcore.models.common import logits, scores
from dlcore.typing import Array


class RecurrentNetwork(nn.Module):
  """Maps token ids or series to logits by layers of recurrent cells.

  It has no forward mode, such as `jax.jvp`, unless `layer_norm` is set: see
  `layers.recur`.

  Attributes:
    num_classes: width of the output of a classifier (1 in regression) and of
      each step of a forecast (by default that of the series).
    cell: "rnn", "rnn_relu", "lstm" or "gru".
    head: "classifier" of the last output of every direction, "lm", which
      predicts the next token, "forecaster", which predicts the next steps of
      a series, or None for the outputs of the last layer.
    vocab_size: number of token ids, V; 0 reads series.
    width: D of each layer and direction, and of the words.
    depth: number of layers.
    bidirectional: whether to read from the end, too.
    layer_norm: see `layers.Recurrent`, as for `unroll`.
    tie_embeddings: whether "lm" uses the token embedding as its output layer
      (Press & Wolf 2017, arXiv:1608.05859).
    horizon: steps of a forecast.
    dropout: rate of words, between layers and before the output layer, a
      number or a traced scalar.
    remat: whether the backward pass computes layers again, to save memory.
    dtype: of the arithmetic; parameters and logits are float32.
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
    train: bool,
    decode: bool = False,
    intermediates: bool = False,
  ) -> Any:
    """Maps `[B, T]` or `[B, T, F]` to float32 `[B, C]`, or as the head does.

    Args:
      inputs: token ids, int `[B, T]`, or series, float `[B, T, F]`.
      attention_mask: `[B, T]`, 1 for kept steps, all by default. What the
        others hold has no influence, wherever they are.
      token_type_ids: int `[B, T]`, words that are added to those of the ids.
      train: whether to drop.
      decode: whether the steps go on from the carry in the collection
        "cache". The first such call makes the cache.
      intermediates: whether to return what layers pass on, too.

    Returns:
      Logits `[B, C]`; of "lm" `[B, T, V]`, of "forecaster"
      `[B, horizon, C]`; without a head outputs `[B, T, D]`. With
      `intermediates` the pair of this and a dict: the tuple `hidden_states`,
      what enters the first layer and leaves each, and the last `carry`, see
      `layers.Recurrent`.

    Raises:
      UserError: a setting or the shape of the inputs cannot be.
    """
    self._check(inputs, attention_mask, token_type_ids, decode)
    x, words = inputs, None
    if self.vocab_size:
      words = Embed(
        self.vocab_size, self.width, dtype=self.dtype, name="word_embedding"
      )
      x = words(inputs)
      x = x if token_type_ids is None else x + words(token_type_ids)
      x = Dropout(self.dropout, name="dropout")(x, train=train)
    states, carry = Recurrent(
      self.cell,
      self.width,
      self.depth,
      bidirectional=self.bidirectional,
      layer_norm=self.layer_norm,
      dropout=self.dropout,
      unroll=self.unroll,
      remat=self.remat,
      dtype=self.dtype,
      name="recurrent",
    )(x, mask=attention_mask, train=train, decode=decode, every=True)
    y = self._output(states[-1], carry, words, inputs, train)
    seen = {"hidden_states": (x, *states), "carry": carry}
    return (y, seen) if intermediates else y

  def _output(self, x, carry, words, inputs, train):
    if self.head is None:
      return x
    if self.head != "lm":
      ways = 2 if self.bidirectional else 1
      x = jnp.concatenate(carry[0][-ways:], axis=-1).astype(self.dtype)
    x = Dropout(self.dropout, name="head_dropout")(x, train=train)
    if self.head == "lm":
      return self._scores(x, words)
    if self.head == "classifier":
      return logits(self, self.num_classes)(x)
    count = self.num_classes or inputs.shape[-1]
    y = logits(self, self.horizon * count)(x)
    return y.reshape(x.shape[0], self.horizon, count)

  def _scores(self, x: Array, words: nn.Embed) -> Array:
    if not self.tie_embeddings:
      return logits(self, self.vocab_size)(x)
    zeros = nn.initializers.zeros_init()
    bias = self.param("logits_bias", zeros, (self.vocab_size,))
    return scores(x, words.embedding) + bias

  def _check(self, inputs, attention_mask, token_type_ids, decode) -> None:
    checks.settings(self)
    checks.at_least(
      1,
      width=self.width,
      depth=self.depth,
      horizon=self.horizon,
      unroll=self.unroll,
      vocab_size=self.vocab_size or 1,
    )
    checks.head(self, *HEADS)
    if self.vocab_size:
      checks.token_ids(
        inputs,
        token_type_ids=token_type_ids,
        hint="set vocab_size=0 to read series",
      )
    else:
      checks.series(inputs)
      checks.no_types(token_type_ids)
    if attention_mask is not None:
      bool_mask(attention_mask, inputs.shape[:2])
    if self.head in READS and READS[self.head] != (not self.vocab_size):
      raise UserError(
        f"expected {'series' if READS[self.head] else 'vocab_size > 0'} "
        f"for head={self.head!r}",
        f"got vocab_size={self.vocab_size}",
      )
    if self.bidirectional and (decode or self.head == "lm"):
      raise UserError(
        "expected one direction where the next step is predicted",
        "got bidirectional=True",
        "set bidirectional=False, or another head",
      )


HEADS = ("classifier", "forecaster", "lm")
READS = {"forecaster": True, "lm": False}
"""Whether a head is for series only, or for tokens only."""

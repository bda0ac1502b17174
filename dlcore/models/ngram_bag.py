"""A bag of hashed n-grams: the model of fastText.

Joulin et al. 2016, arXiv:1607.01759; n-grams of characters as in Bojanowski et
al. 2016, arXiv:1607.04606.
"""

from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from dlcore.errors import UserError
from dlcore.layers import (
  Dropout,
  Embed,
  add_boundaries,
  bool_mask,
  hash_ngrams,
  weighted_rows,
)
from dlcore.models.field_checks import check_at_least, check_fields, check_head
from dlcore.models.input_checks import check_token_ids
from dlcore.models.output_layers import (
  hidden_layers,
  output_layer,
  with_intermediates,
)
from dlcore.typing import Array


class NgramBag(nn.Module):
  """Maps token ids to logits by the embeddings of their n-grams.

  Their sum is divided by the square root of their number, so that the features
  have the same size in texts of all lengths. (The mean of fastText is smaller
  in longer texts, since embeddings of different n-grams are almost orthogonal.)

  The ids are those of bytes, characters, words or others. N-grams that begin or
  end a text differ from those inside of it. Training time does not depend on
  the number of different n-grams, but the optimizer updates all buckets.

  Attributes:
    num_classes: number of classes; 1 in regression.
    head: "classifier", or None to return the last hidden layer.
    vocab_size: number of token ids, V.
    ngrams: numbers of tokens in an n-gram.
    buckets: number of embeddings; n-grams with the same hash share one.
    width: D, width of the embeddings.
    widths: widths of the hidden layers; `()` is a linear model of the sum.
    activation: a key of `ACTIVATIONS`, for the hidden layers.
    dropout: dropout rate of the sum and after each hidden layer.
    ngram_dropout: rate at which n-grams are left out of the sum. Both rates
      may be traced scalars.
    dtype: dtype of the computation; parameters and logits are float32.
  """

  embeds_ngrams: ClassVar[bool] = True
  """There is no embedding of a single token."""

  num_classes: int | None = None
  head: str | None = "classifier"
  vocab_size: int = 260
  ngrams: tuple[int, ...] = (1, 2, 3, 4, 5)
  buckets: int = 65_536
  width: int = 64
  widths: tuple[int, ...] = ()
  activation: str = "relu"
  dropout: float | Array = 0.0
  ngram_dropout: float | Array = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    input_ids: Array,
    *,
    attention_mask: Array | None = None,
    token_type_ids: Array | None = None,
    train: bool,
    intermediates: bool = False,
  ) -> Any:
    """Maps ids `[B, T]` to float32 `[B, C]`.

    Args:
      input_ids: int; a row with an id out of range returns NaN.
      attention_mask: `[B, T]`, 0 for padding, at any position; None if there is
        no padding.
      token_type_ids: int `[B, T]`, 0 by default. N-grams of other types are
        other n-grams.
      train: whether to apply dropout.
      intermediates: whether to return intermediate activations.

    Returns:
      The logits, or without a head the last hidden layer, `[B, D]`. With
      `intermediates` a pair of this and a dict: `hidden_states`, the scaled sum
      and the output of each hidden layer.

    Raises:
      UserError: a field or the shape of an input is invalid.
    """
    self._check(input_ids, token_type_ids)
    mask = jnp.ones(input_ids.shape, bool)
    if attention_mask is not None:
      mask = bool_mask(attention_mask, input_ids.shape)
    x = self._sum(input_ids.astype(jnp.int32), mask, token_type_ids, train)
    states = hidden_layers(self, x, train=train)
    y = states[-1]
    if self.head is not None:
      y = output_layer(self, self.num_classes)(y)
    return with_intermediates(y, states, intermediates)

  def _sum(
    self, ids: Array, mask: Array, token_type_ids: Array | None, train: bool
  ) -> Array:
    """Returns the scaled sum of the embeddings of the n-grams, `[B, D]`."""
    valid = ((ids >= 0) & (ids < self.vocab_size)) | ~mask
    if token_type_ids is not None:
      ids = ids + (self.vocab_size + 2) * token_type_ids.astype(jnp.int32)
    begin, end = self.vocab_size, self.vocab_size + 1
    ids, mask = add_boundaries(ids, mask, begin, end)
    index, complete = hash_ngrams(ids, mask, self.ngrams, self.buckets)
    count = complete.sum(1, keepdims=True)
    weights = complete * lax.rsqrt(jnp.maximum(count, 1).astype(jnp.float32))
    drop = Dropout(self.ngram_dropout, name="ngram_dropout")
    table = Embed(self.buckets, self.width, name="ngram_embedding").embedding
    total = weighted_rows(table, index, drop(weights, train=train))
    total = jnp.where(valid.all(1, keepdims=True), total, jnp.nan)
    return total.astype(self.dtype)

  def _check(self, input_ids, token_type_ids) -> None:
    check_fields(self)
    check_at_least(self, 1, "vocab_size", "ngrams", "buckets", "width")
    check_at_least(self, 1, "widths")
    if not self.ngrams:
      raise UserError(
        "expected ngrams of at least one size, such as (1, 2)", "got ()"
      )
    check_head(self, "classifier")
    check_token_ids(input_ids, token_type_ids=token_type_ids)

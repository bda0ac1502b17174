"""A convolutional network for token ids: one layer of several widths.

Kim 2014, arXiv:1408.5882, of words; with ids of characters it is the smallest
network of the kind of Zhang, Zhao & LeCun 2015, arXiv:1509.01626.
"""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import UserError, lookup
from dlcore.layers import ACTIVATIONS, Conv, Dropout, Embed, bool_mask
from dlcore.models.field_checks import check_at_least, check_fields, check_head
from dlcore.models.input_checks import check_token_ids
from dlcore.models.output_layers import (
  hidden_layers,
  output_layer,
  with_intermediates,
)
from dlcore.typing import Array


class TextCNN(nn.Module):
  """Maps token ids to logits by convolutions and their maxima over time.

  Attributes:
    num_classes: number of classes; 1 in regression.
    head: "classifier", or None to return the features.
    vocab_size: number of token ids, V.
    width: D, width of the word embedding.
    kernel_sizes: numbers of tokens that the kernels see, one layer for each.
    features: number of kernels of each size.
    widths: widths of the hidden layers after the maxima.
    activation: a key of `ACTIVATIONS`.
    dropout: dropout rate of the embeddings, the maxima and after each hidden
      layer, a number or a traced scalar. (The paper drops the maxima alone.)
    dtype: dtype of the computation; parameters and logits are float32.
  """

  num_classes: int | None = None
  head: str | None = "classifier"
  vocab_size: int = 260
  width: int = 64
  kernel_sizes: tuple[int, ...] = (3, 4, 5)
  features: int = 100
  widths: tuple[int, ...] = ()
  activation: str = "relu"
  dropout: float | Array = 0.0
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
      input_ids: int.
      attention_mask: `[B, T]`, 0 for padding, at any position; None if there is
        no padding. The kernels see zeros in place of padding, and beyond the
        ends of a row.
      token_type_ids: int `[B, T]`, whose word embeddings are added to those of
        `input_ids`.
      train: whether to apply dropout.
      intermediates: whether to return intermediate activations.

    Returns:
      The logits, or without a head the last hidden layer, `[B, F]`. With
      `intermediates` a pair of this and a dict: `hidden_states`, the embeddings
      `[B, T, D]`, the maxima and the output of each hidden layer.

    Raises:
      UserError: a field or the shape of an input is invalid.
    """
    self._check(input_ids, token_type_ids)
    embed = Embed(
      self.vocab_size, self.width, dtype=self.dtype, name="word_embedding"
    )
    x = embed(input_ids)
    if token_type_ids is not None:
      x = x + embed(token_type_ids)
    x = Dropout(self.dropout, name="embedding_dropout")(x, train=train)
    mask = None
    if attention_mask is not None:
      mask = bool_mask(attention_mask, input_ids.shape)[:, :, None]
      x = jnp.where(mask, x, 0)
    activation = lookup(ACTIVATIONS, self.activation, "activation")
    maxima = [
      max_over_time(activation(self._convolve(x, size)), mask)
      for size in self.kernel_sizes
    ]
    hidden = hidden_layers(self, jnp.concatenate(maxima, -1), train=train)
    y = hidden[-1]
    if self.head is not None:
      y = output_layer(self, self.num_classes)(y)
    return with_intermediates(y, [x, *hidden], intermediates)

  def _convolve(self, x: Array, size: int) -> Array:
    """Maps `[B, T, D]` to `[B, T, features]`; an image of one column."""
    name = f"conv_{size}"
    conv = Conv(self.features, (size, 1), dtype=self.dtype, name=name)
    return conv(x[:, :, None])[:, :, 0]

  def _check(self, input_ids, token_type_ids) -> None:
    check_fields(self)
    sizes = ("vocab_size", "width", "kernel_sizes", "features", "widths")
    check_at_least(self, 1, *sizes)
    if not 0 < len(self.kernel_sizes) == len(set(self.kernel_sizes)):
      raise UserError(
        "expected different kernel_sizes, at least one",
        f"got {self.kernel_sizes}",
        "set features for more kernels of one size",
      )
    check_head(self, "classifier")
    check_token_ids(input_ids, token_type_ids=token_type_ids)


def max_over_time(x: Array, mask: Array | None) -> Array:
  """Returns the maximum of each feature over the tokens.

  Args:
    x: `[B, T, F]`.
    mask: bool `[B, T, 1]`, False for padding; None if there is no padding.

  Returns:
    `[B, F]`; zeros for a row without tokens.
  """
  if x.shape[1] == 0:
    return jnp.zeros((x.shape[0], x.shape[2]), x.dtype)
  if mask is None:
    return x.max(1)
  # Not -inf, which times the gradient of 0 of an empty row would be NaN.
  lowest = jnp.finfo(x.dtype).min
  largest = jnp.where(mask, x, lowest).max(1)
  return jnp.where(mask.any(1), largest, 0)

"""Recurrent decoders with attention to the source."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from dlcore.layers import AttentiveRecurrent, Dropout, Recurrent, attend
from dlcore.layers.recurrent_cell import Carry
from dlcore.typing import Array

ATTENTIONS = ("additive", "dot", "general")


class Encoded(NamedTuple):
  """The encoded source."""

  states: tuple[Array, ...]
  """Word embeddings `[B, S, D]` and the output of each layer, `[B, S, E]`."""

  carry: Carry
  """Final carry of all layers and directions."""


class AttentiveDecoder(nn.Module):
  """Recurrent layers with attention to the source, and a tanh layer.

  Attributes: see `Seq2Seq`.
  """

  cell: str
  width: int
  depth: int
  attention: str
  dropout: float | Array = 0.0
  recurrent_dropout: float | Array = 0.0
  remat: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Array,
    encoded: Encoded,
    *,
    mask: Array | None,
    train: bool,
    decode: bool,
  ) -> tuple[Array, tuple[Array, ...], Array]:
    """Maps target embeddings `[B, T, D]` to `[B, T, D]`.

    Args:
      x: target embeddings.
      encoded: the encoded source.
      mask: bool `[B, S]`, False for padding of the source; None means no mask.
      train: whether to apply dropout.
      decode: whether to continue from the carries in the collection "cache".

    Returns:
      The output, the outputs of the layers `[B, T, D]`, and the attention
      weights `[B, T, S]`.
    """
    additive = self.attention == "additive"
    run = self._attend_before_steps if additive else self._attend_after_steps
    initial = self._initial_carry(encoded.carry)
    values = encoded.states[-1]
    states, context, weights = run(x, values, mask, initial, train, decode)
    x = jnp.concatenate([states[-1], context], axis=-1)
    x = jnp.tanh(nn.Dense(self.width, dtype=self.dtype, name="readout")(x))
    x = Dropout(self.dropout, name="head_dropout")(x, train=train)
    return x, states, weights

  def _initial_carry(self, carry: Carry) -> Carry:
    """Returns `[L, B, D]`; a dense layer combines directions, as for s_0."""
    if carry[0].shape[0] == self.depth:
      return carry

    def combine(i: int, layer: int) -> Array:
      directions = jnp.concatenate(carry[i][2 * layer : 2 * layer + 2], axis=-1)
      name = f"bridge_{layer}_{i}"
      y = nn.Dense(self.width, dtype=self.dtype, name=name)(directions)
      y = y.astype(jnp.float32)
      return y if i else jnp.tanh(y)

    return tuple(
      jnp.stack([combine(i, layer) for layer in range(self.depth)])
      for i in range(len(carry))
    )

  def _attend_before_steps(self, x, values, mask, initial, train, decode):
    """Attends to the source before each step of the first layer (Bahdanau)."""
    first = AttentiveRecurrent(
      self.cell,
      self.width,
      self.recurrent_dropout,
      self.dtype,
      name="attentive",
    )
    carry = tuple(array[0] for array in initial)
    output, context, weights = first(
      x, values, mask=mask, carry=carry, train=train, decode=decode
    )
    if self.depth == 1:
      return (output,), context, weights
    x = Dropout(self.dropout, name="dropout")(output, train=train)
    carry = tuple(array[1:] for array in initial)
    states = self._layers(x, carry, self.depth - 1, train, decode)
    return (output, *states), context, weights

  def _attend_after_steps(self, x, values, mask, initial, train, decode):
    """Attends to the source with the outputs of the last layer (Luong)."""
    states = self._layers(x, initial, self.depth, train, decode)
    query = states[-1]
    if self.attention == "general":
      dense = nn.Dense(
        values.shape[-1], use_bias=False, dtype=self.dtype, name="query"
      )
      query = dense(query)
    scores = jnp.einsum(
      "BTD,BSD->BTS", query, values, preferred_element_type=jnp.float32
    )
    mask = None if mask is None else mask[:, None]
    return states, *attend(scores, values, mask)

  def _layers(self, x, carry, depth: int, train: bool, decode: bool):
    layers = Recurrent(
      self.cell,
      self.width,
      depth,
      dropout=self.dropout,
      recurrent_dropout=self.recurrent_dropout,
      remat=self.remat,
      dtype=self.dtype,
      name="recurrent",
    )
    states, _ = layers(
      x, carry=carry, train=train, decode=decode, all_layers=True
    )
    return states

"""Recurrent layers that look at another text."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from dlcore.layers import AttentiveRecurrent, Dropout, Recurrent, attend
from dlcore.layers.recurrent_cell import Carry
from dlcore.typing import Array

ATTENTIONS = ("additive", "dot", "general")


class Encoded(NamedTuple):
  """What a decoder gets of the first text."""

  states: tuple[Array, ...]
  """The words `[B, S, D]`, and what leaves each layer, `[B, S, E]`."""

  carry: Carry
  """The last one, of all layers and directions."""


class Decoder(nn.Module):
  """Layers of cells, a look at the first text, and a layer of tanh.

  Attributes: those of `Seq2Seq`.
  """

  cell: str
  width: int
  depth: int
  attention: str
  dropout: float | Array = 0.0
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
    """Maps words `[B, T, D]` to what predicts the next ones, `[B, T, D]`.

    Args:
      x: the words.
      encoded: the first text.
      mask: bool `[B, S]`, of the first text; None keeps all.
      train: whether to drop.
      decode: whether to go on from the carries in the collection "cache".

    Returns:
      The result, the outputs of each layer `[B, T, D]`, and the weights of
      the look at the first text, `[B, T, S]`.
    """
    look = self._during if self.attention == "additive" else self._after
    start = self._start(encoded.carry)
    values = encoded.states[-1]
    states, mean, weights = look(x, values, mask, start, train, decode)
    x = jnp.concatenate([states[-1], mean], axis=-1)
    x = jnp.tanh(nn.Dense(self.width, dtype=self.dtype, name="readout")(x))
    x = Dropout(self.dropout, name="head_dropout")(x, train=train)
    return x, states, weights

  def _start(self, carry: Carry) -> Carry:
    """Returns `[L, B, D]`; two directions are joined by a layer, as s_0 is."""
    if carry[0].shape[0] == self.depth:
      return carry

    def joined(i: int, layer: int) -> Array:
      ends = jnp.concatenate(carry[i][2 * layer : 2 * layer + 2], axis=-1)
      name = f"bridge_{layer}_{i}"
      y = nn.Dense(self.width, dtype=self.dtype, name=name)(ends)
      y = y.astype(jnp.float32)
      return y if i else jnp.tanh(y)

    return tuple(
      jnp.stack([joined(i, layer) for layer in range(self.depth)])
      for i in range(len(carry))
    )

  def _during(self, x, values, mask, start, train, decode):
    """Looks before every step of the first layer (Bahdanau)."""
    first = AttentiveRecurrent(
      self.cell, self.width, self.dtype, name="attentive"
    )
    carry, above = (tuple(a[i] for a in start) for i in (0, slice(1, None)))
    output, mean, weights = first(
      x, values, mask=mask, carry=carry, decode=decode
    )
    if self.depth == 1:
      return (output,), mean, weights
    x = Dropout(self.dropout, name="dropout")(output, train=train)
    states = self._layers(x, above, self.depth - 1, train, decode)
    return (output, *states), mean, weights

  def _after(self, x, values, mask, start, train, decode):
    """Looks after every step of the last layer (Luong)."""
    states = self._layers(x, start, self.depth, train, decode)
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
      remat=self.remat,
      dtype=self.dtype,
      name="recurrent",
    )
    how = {"train": train, "decode": decode, "every": True}
    return layers(x, carry=carry, **how)[0]

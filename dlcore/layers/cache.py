"""The cache of attention: keys, values, and which tokens they are of."""

from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from dlcore.errors import UserError
from dlcore.layers.mask import bool_mask, causal_mask, padding_mask
from dlcore.typing import Array


class Cache:
  """Keys and values of what came before, in the collection of a module."""

  def __init__(self, module: nn.Module, key: Array):
    self.ready = module.has_variable("cache", "cached_key")
    self._key = module.variable("cache", "cached_key", jnp.zeros_like, key)
    self._value = module.variable("cache", "cached_value", jnp.zeros_like, key)
    self._index = module.variable("cache", "cache_index", jnp.int32, 0)

  @property
  def index(self) -> Array:
    """The number of tokens it holds, an int32 scalar."""
    return self._index.value

  def extended(self, key: Array, value: Array) -> tuple[Array, Array, Array]:
    """Adds keys and values `[B, T, G, K]`.

    Returns:
      All keys and values, `[B, S, G, K]`, and the mask of those that came
      before each new one, bool `[1, 1, T, S]`.

    Raises:
      UserError: these are more than the cache can ever hold, or of another
        batch. That it is full cannot be seen in a compiled program: what
        comes of it is then NaN.
    """
    batch, room = self._key.value.shape[:2]
    length = key.shape[1]
    if length > room:
      raise UserError(
        f"expected at most {room} tokens, as many as the cache holds",
        f"got {length}",
        "make the cache with a longer input",
      )
    _check_rows(batch, key.shape[0])
    past = causal_mask(length, room, self.index)
    start = (0, self.index, 0, 0)
    full = self.index + length > room
    for cached, new in ((self._key, key), (self._value, value)):
      new = jnp.where(full, jnp.nan, new).astype(cached.value.dtype)
      cached.value = lax.dynamic_update_slice(cached.value, new, start)
    self._index.value = self.index + length
    return self._key.value, self._value.value, past


def _check_rows(cached: int, given: int) -> None:
  if given != cached:
    raise UserError(
      f"expected {cached} rows, as the cache has",
      f"got {given}",
      "make the cache with as many",
    )


class MaskAndPositions(NamedTuple):
  """What attention must know of tokens, some of which may be padding."""

  mask: Array | None
  """Bool `[B, 1, 1, S]`, or None where every token is kept."""

  positions: Array
  """Int32 `[T]` or `[B, T]`: how many kept tokens come before each. Padding
  does not count, so on whichever side it is, it changes nothing."""


def mask_and_positions(
  module: nn.Module,
  x: Array,
  attention_mask: Array | None,
  *,
  decode: bool = False,
) -> MaskAndPositions:
  """Returns the mask and the positions of tokens.

  Args:
    module: in whose collection "cache" is kept which tokens came before.
    x: `[B, T, ...]`, the tokens or their ids.
    attention_mask: `[B, T]`, 1 for kept tokens; None keeps all.
    decode: whether the tokens go on from those in the cache. The first call
      makes the cache, as long as its input; S is then that length.

  Raises:
    UserError: see `bool_mask`.
  """
  shape = x.shape[:2]
  if attention_mask is None and not decode:
    return MaskAndPositions(None, jnp.arange(shape[1]))
  kept = jnp.ones(shape, bool)
  if attention_mask is not None:
    kept = bool_mask(attention_mask, shape)
  positions = jnp.maximum(jnp.cumsum(kept, 1, dtype=jnp.int32) - 1, 0)
  if not decode:
    return MaskAndPositions(padding_mask(kept), positions)

  ready = module.has_variable("cache", "kept")
  past = module.variable("cache", "kept", jnp.zeros, shape, bool)
  _check_rows(past.value.shape[0], shape[0])
  index = module.variable("cache", "index", jnp.int32, 0)
  positions += past.value.sum(1, keepdims=True, dtype=jnp.int32)
  if ready:
    kept = lax.dynamic_update_slice(past.value, kept, (0, index.value))
    past.value, index.value = kept, index.value + shape[1]
  return MaskAndPositions(padding_mask(kept), positions)

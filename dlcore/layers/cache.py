"""The cache of attention: keys and values that are kept."""

import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from dlcore.layers.mask import causal_mask
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
      ValueError: these are more than the cache can ever hold. That it is full
        cannot be seen in a compiled program: the last ones are then lost.
    """
    length, room = key.shape[1], self._key.value.shape[1]
    if length > room:
      raise ValueError(f"{length} tokens for a cache of {room}")
    past = causal_mask(length, room, self.index)
    start = (0, self.index, 0, 0)
    for cached, new in ((self._key, key), (self._value, value)):
      new = new.astype(cached.value.dtype)
      cached.value = lax.dynamic_update_slice(cached.value, new, start)
    self._index.value = self.index + length
    return self._key.value, self._value.value, past

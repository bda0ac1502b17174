"""The cache of attention in decoding: keys, values, masks and positions."""

from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from dlcore.errors import UserError
from dlcore.layers.mask import (
  bool_mask,
  causal_mask,
  padding_mask,
  segment_mask,
  segment_positions,
)
from dlcore.typing import Array


class KeyValueCache:
  """Keys and values of past tokens in the collection "cache" of a module.

  Attributes:
    exists: whether the cache existed before this call of the module.
  """

  def __init__(self, module: nn.Module, key: Array):
    self.exists = module.has_variable("cache", "cached_key")
    self._key = module.variable("cache", "cached_key", jnp.zeros_like, key)
    self._value = module.variable("cache", "cached_value", jnp.zeros_like, key)
    self._index = module.variable("cache", "cache_index", jnp.int32, 0)

  @property
  def index(self) -> Array:
    """The number of cached tokens, an int32 scalar."""
    return self._index.value

  def append(self, key: Array, value: Array) -> tuple[Array, Array, Array]:
    """Appends keys and values `[B, T, G, K]` to the cache.

    Returns:
      All keys and values, `[B, S, G, K]`, and the causal mask of the new
      queries, bool `[1, 1, T, S]`.

    Raises:
      UserError: T exceeds the length of the cache or the batch size differs.
        A compiled program cannot raise when the cache is full; the new keys
        and values are NaN instead.
    """
    batch, max_length = self._key.value.shape[:2]
    length = key.shape[1]
    if length > max_length:
      raise UserError(
        f"expected at most {max_length} tokens, the length of the cache",
        f"got {length}",
        "create the cache with a longer input",
      )
    _check_batch_size(batch, key.shape[0])
    past = causal_mask(length, max_length, self.index)
    start = (0, self.index, 0, 0)
    full = self.index + length > max_length
    for cached, new in ((self._key, key), (self._value, value)):
      new = jnp.where(full, jnp.nan, new).astype(cached.value.dtype)
      cached.value = lax.dynamic_update_slice(cached.value, new, start)
    self._index.value = self.index + length
    return self._key.value, self._value.value, past


def _check_batch_size(cached: int, batch: int) -> None:
  if batch != cached:
    raise UserError(
      f"expected {cached} rows, the batch size of the cache",
      f"got {batch}",
      "create the cache with the same batch size",
    )


class MaskAndPositions(NamedTuple):
  """The attention mask and the positions of a batch of sequences."""

  mask: Array | None
  """Bool `[B, 1, 1, S]`, or None if there is no padding; `[B, 1, T, T]` of
  segments."""

  positions: Array
  """Int32 `[T]` or `[B, T]`, the number of preceding tokens without padding.
  Padding on either side therefore does not change the output. In a segment
  they count from its first token."""


def mask_and_positions(
  module: nn.Module,
  x: Array,
  attention_mask: Array | None,
  *,
  segment_ids: Array | None = None,
  positions: Array | None = None,
  decode: bool = False,
) -> MaskAndPositions:
  """Returns the attention mask and the positions of tokens.

  Args:
    module: its collection "cache" holds the mask of past tokens.
    x: `[B, T, ...]`, tokens or token ids.
    attention_mask: `[B, T]`, 0 for padding; None if there is no padding.
    segment_ids: int `[B, T]`, see `segment_mask`; not in decoding.
    positions: int `[T]` or `[B, T]`, in place of those that are counted.
    decode: whether the tokens continue those in the cache. The first call
      creates the cache with the length of its input, which is then S.

  Raises:
    UserError: see `bool_mask`.
  """
  counted = _mask_and_positions(module, x, attention_mask, decode)
  if segment_ids is not None:
    mask = segment_mask(segment_ids)
    mask = mask if counted.mask is None else mask & counted.mask
    counted = MaskAndPositions(mask, segment_positions(segment_ids))
  return counted if positions is None else counted._replace(positions=positions)


def _mask_and_positions(
  module: nn.Module, x: Array, attention_mask: Array | None, decode: bool
) -> MaskAndPositions:
  """Returns those of rows of one segment; see `mask_and_positions`."""
  shape = x.shape[:2]
  if attention_mask is None and not decode:
    return MaskAndPositions(None, jnp.arange(shape[1]))
  mask = jnp.ones(shape, bool)
  if attention_mask is not None:
    mask = bool_mask(attention_mask, shape)
  positions = jnp.maximum(jnp.cumsum(mask, 1, dtype=jnp.int32) - 1, 0)
  if not decode:
    return MaskAndPositions(padding_mask(mask), positions)

  exists = module.has_variable("cache", "kept")
  past = module.variable("cache", "kept", jnp.zeros, shape, bool)
  _check_batch_size(past.value.shape[0], shape[0])
  index = module.variable("cache", "index", jnp.int32, 0)
  positions += past.value.sum(1, keepdims=True, dtype=jnp.int32)
  if exists:
    mask = lax.dynamic_update_slice(past.value, mask, (0, index.value))
    past.value, index.value = mask, index.value + shape[1]
  return MaskAndPositions(padding_mask(mask), positions)

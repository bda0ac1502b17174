"""Attention masks, and the segments of packed sequences."""

import jax.numpy as jnp
from jax import lax

from dlcore.errors import UserError
from dlcore.layers.array_check import check_array
from dlcore.typing import Array


def bool_mask(attention_mask: Array, shape: tuple[int, ...]) -> Array:
  """Returns an attention mask as bool, after checking its shape and dtype.

  Args:
    attention_mask: bool or int `[B, T]`, 1 for tokens, 0 for padding.
    shape: shape of the token ids, (B, T).

  Raises:
    UserError: the mask is not an array, the shape differs or the mask is
      float. In a float mask, which is added to the logits, 0 means a token.
  """
  check_array("attention_mask", attention_mask)
  if attention_mask.shape != tuple(shape):
    raise UserError(
      f"expected an attention_mask of shape {tuple(shape)}, that of the tokens",
      f"got shape {attention_mask.shape}",
    )
  if jnp.issubdtype(attention_mask.dtype, jnp.floating):
    raise UserError(
      "expected an attention_mask of integers or bool, 1 for tokens",
      f"got {attention_mask.dtype}",
      "convert it: astype(bool) if 1 means a token, (mask == 0) if 0 does",
    )
  return attention_mask.astype(bool)


def padding_mask(
  attention_mask: Array | None, shape: tuple[int, ...] | None = None
) -> Array | None:
  """Returns the mask of `layers.Attention` that ignores padding.

  Args:
    attention_mask: bool or int `[B, S]`, 0 for padding; None if there is no
      padding.
    shape: shape of the token ids to compare with, (B, S); None for no check.

  Returns:
    bool `[B, 1, 1, S]`, or None if there is no padding.

  Raises:
    UserError: see `bool_mask`.
  """
  if attention_mask is None:
    return None
  check_array("attention_mask", attention_mask)
  mask = bool_mask(attention_mask, shape or attention_mask.shape)
  return mask[:, None, None, :]


def causal_mask(
  queries: int, keys: int | None = None, offset: int | Array = 0
) -> Array:
  """Returns the mask in which query t attends to keys 0 to t + offset.

  Args:
    queries: number of queries, T.
    keys: number of keys, S; T by default.
    offset: number of keys before the first query.

  Returns:
    bool `[1, 1, T, S]`.
  """
  last = jnp.arange(queries)[:, None] + offset
  return (jnp.arange(keys or queries) <= last)[None, None]


def segment_mask(segment_ids: Array) -> Array:
  """Returns the mask in which tokens attend inside of their segment.

  Args:
    segment_ids: int `[B, T]`, the number of the sequence of each token in a
      packed row; 0 for padding, which is ignored.

  Returns:
    bool `[B, 1, T, T]`.
  """
  same = segment_ids[:, :, None] == segment_ids[:, None, :]
  return (same & (segment_ids > 0)[:, None, :])[:, None]


def segment_begins(segment_ids: Array) -> Array:
  """Returns whether a segment begins at a token, bool `[B, T]`.

  Args:
    segment_ids: int `[B, T]`, 0 for padding, which does not begin.
  """
  before = jnp.pad(segment_ids, ((0, 0), (1, 0)))[:, :-1]
  return (segment_ids != before) & (segment_ids > 0)


def segment_positions(segment_ids: Array) -> Array:
  """Returns the position of each token in its segment, int32 `[B, T]`.

  Args:
    segment_ids: int `[B, T]`, contiguous segments; 0 for padding.
  """
  index = jnp.arange(segment_ids.shape[1], dtype=jnp.int32)
  starts = jnp.where(segment_begins(segment_ids), index, 0)
  return index - lax.cummax(starts, axis=1)

"""Masks: which queries see which keys."""

import jax.numpy as jnp

from dlcore.typing import Array


def padding_mask(attention_mask: Array) -> Array:
  """Turns `[B, S]`, 1 for kept tokens, into a mask bool `[B, 1, 1, S]`."""
  return attention_mask.astype(bool)[:, None, None, :]


def causal_mask(
  queries: int, keys: int | None = None, offset: int | Array = 0
) -> Array:
  """Returns the mask with which query t sees the keys 0 to t + offset.

  Args:
    queries: how many, T.
    keys: how many, S; as many as queries by default.
    offset: how many keys come before that of the first query.

  Returns:
    bool `[1, 1, T, S]`.
  """
  last = jnp.arange(queries)[:, None] + offset
  return (jnp.arange(keys or queries) <= last)[None, None]

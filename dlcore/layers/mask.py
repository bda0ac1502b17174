"""Masks: which queries see which keys."""

import jax.numpy as jnp

from dlcore.errors import UserError
from dlcore.typing import Array


def bool_mask(attention_mask: Array, shape: tuple[int, ...]) -> Array:
  """Returns which tokens are kept, bool of the shape of the mask.

  Args:
    attention_mask: bool or int `[B, T]`, 1 for kept tokens.
    shape: of the tokens, (B, T).

  Raises:
    UserError: the mask has another shape, or holds floats: a mask that is to
      be added, 0 for kept tokens, would mean the opposite.
  """
  if attention_mask.shape != tuple(shape):
    raise UserError(
      f"expected an attention_mask of shape {tuple(shape)}, one number a token",
      f"got one of shape {attention_mask.shape}",
    )
  if jnp.issubdtype(attention_mask.dtype, jnp.floating):
    raise UserError(
      "expected an attention_mask of whole numbers, 1 for kept tokens",
      f"got {attention_mask.dtype}",
      "convert it: astype(bool) if 1 keeps, (mask == 0) if 0 does",
    )
  return attention_mask.astype(bool)


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

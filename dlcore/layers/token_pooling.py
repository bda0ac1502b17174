"""Embeddings of texts from their tokens (Reimers & Gurevych 2019).

The poolings are those of sentence-transformers, arXiv:1908.10084.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp

from dlcore.typing import Array


def first_token(tokens: Array, mask: Array) -> Array:
  """Returns the first token, `[B, D]`."""
  del mask
  return tokens[:, 0]


def largest_values(tokens: Array, mask: Array) -> Array:
  """Returns the maximum of each channel over the tokens, `[B, D]`."""
  return jnp.where(mask[..., None] > 0, tokens, -1e9).max(1)


def mean_token(tokens: Array, mask: Array) -> Array:
  """Returns the mean over the tokens, `[B, D]`."""
  return _total(tokens, mask) / _count(mask)


def scaled_total(tokens: Array, mask: Array) -> Array:
  """Returns the sum over the tokens by the root of their number, `[B, D]`."""
  return _total(tokens, mask) / jnp.sqrt(_count(mask))


POOLINGS: dict[str, Callable[[Array, Array], Array]] = {
  "cls": first_token,
  "max": largest_values,
  "mean": mean_token,
  "mean_sqrt_len": scaled_total,
}
"""`(tokens [B, T, D], mask [B, T]) -> [B, D]`, by name."""


def pool_tokens(
  tokens: Array, mask: Array, poolings: Sequence[str], *, normalize: bool
) -> Array:
  """Returns embeddings, float32 `[B, D * len(poolings)]`.

  Args:
    tokens: `[B, T, D]`.
    mask: `[B, T]`, 0 for padding.
    poolings: keys of `POOLINGS`.
    normalize: whether to divide embeddings by their norm.
  """
  tokens = tokens.astype(jnp.float32)
  pooled = jnp.concatenate([POOLINGS[n](tokens, mask) for n in poolings], -1)
  if not normalize:
    return pooled
  norm = jnp.linalg.norm(pooled, axis=-1, keepdims=True)
  return pooled / jnp.maximum(norm, 1e-12)


def _total(tokens: Array, mask: Array) -> Array:
  return jnp.einsum("BTD,BT->BD", tokens, mask.astype(jnp.float32))


def _count(mask: Array) -> Array:
  count = mask.astype(jnp.float32).sum(1, keepdims=True)
  return jnp.maximum(count, 1e-9)

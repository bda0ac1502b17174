"""Hashed n-grams of token ids, and the sums of their embeddings.

Weinberger et al. 2009, arXiv:0902.2206; Joulin et al. 2016, arXiv:1607.01759.
"""

from collections.abc import Collection

import jax.numpy as jnp

from dlcore.typing import Array

BASIS = 0x811C9DC5
"""Hash of no tokens."""

MULTIPLIER = 0x9E3779B1
"""Odd, so that the hashes of two tokens differ."""


def add_boundaries(
  ids: Array, mask: Array, begin: int, end: int
) -> tuple[Array, Array]:
  """Inserts an id before the first and one after the last token of each row.

  Args:
    ids: int32 `[B, T]`.
    mask: bool `[B, T]`, False for padding, at any position.
    begin: id before the first token.
    end: id after the last token.

  Returns:
    int32 and bool `[B, T + 2]`. A row without tokens has no boundaries.
  """
  length = ids.shape[1]
  columns = jnp.arange(length + 2)
  has_tokens = mask.any(1, keepdims=True)
  # Of the wider rows: token t is in column t + 1.
  first = mask.argmax(1, keepdims=True)
  last = length + 1 - mask[:, ::-1].argmax(1, keepdims=True)
  begins = (columns == first) & has_tokens
  ends = (columns == last) & has_tokens
  ids = jnp.pad(ids, ((0, 0), (1, 1)))
  mask = jnp.pad(mask, ((0, 0), (1, 1)))
  ids = jnp.where(begins, begin, jnp.where(ends, end, ids))
  return ids, mask | begins | ends


def hash_ngrams(
  ids: Array, mask: Array, sizes: Collection[int], buckets: int
) -> tuple[Array, Array]:
  """Returns the bucket of each n-gram, a hash of its ids.

  The hash of no tokens is `BASIS`, that of one token more is
  `mix(hash ^ token)`, where `mix(x) = y ^ (y >> 15)` and `y = MULTIPLIER * x`.
  The bucket is the remainder of `mix(hash)`. The arithmetic is that of uint32,
  whose products wrap, so that all backends compute the same buckets.

  Args:
    ids: int `[B, T]`, at least 0.
    mask: bool `[B, T]`, False for padding.
    sizes: numbers of tokens in an n-gram, at least 1.
    buckets: number of buckets.

  Returns:
    Buckets, int32 `[B, N]`, and a bool `[B, N]` that is False for n-grams with
    padding. N is the number of windows of all sizes, `T - n + 1` of size n.
  """
  ids = ids.astype(jnp.uint32)
  hashes, kept = jnp.full(ids.shape, BASIS, jnp.uint32), jnp.ones_like(mask)
  index, complete = [], []
  for size in range(1, min(max(sizes), ids.shape[1]) + 1):
    windows = ids.shape[1] - size + 1
    hashes = _mix(hashes[:, :windows] ^ ids[:, size - 1 :])
    kept = kept[:, :windows] & mask[:, size - 1 :]
    if size in sizes:
      index.append(_mix(hashes) % jnp.uint32(buckets))
      complete.append(kept)
  if not index:  # All n-grams are longer than the rows.
    return jnp.zeros((len(ids), 0), jnp.int32), jnp.zeros((len(ids), 0), bool)
  joined = jnp.concatenate(index, 1).astype(jnp.int32)
  return joined, jnp.concatenate(complete, 1)


def _mix(x: Array) -> Array:
  x = x * jnp.uint32(MULTIPLIER)
  return x ^ (x >> 15)


def weighted_rows(table: Array, index: Array, weights: Array) -> Array:
  """Returns sums of rows of a table.

  Args:
    table: `[V, D]`.
    index: int `[B, N]`, rows of the table.
    weights: float32 `[B, N]`.

  Returns:
    float32 `[B, D]`.
  """
  # On CPUs the gradient of a matrix product of weights and rows is slower.
  rows = jnp.asarray(table)[index].astype(jnp.float32)
  return (rows * weights[..., None]).sum(1)

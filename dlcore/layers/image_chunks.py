"""Functions of a batch of images as loops over chunks of it, for CPU.

The intermediate values of a chunk stay in the cache. XLA stores the operands of
a loop; fused into other operations it would compute them again for each use,
such as a normalization and its activation in every transposed copy of them.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.typing import Array

VALUES = 2**19
"""Maximum number of float32 values of an array in a chunk, 2 MiB."""


def map_chunks(
  function: Callable[[Array], Array], x: Array, *, values: int
) -> Array:
  """Applies a function to chunks of a batch.

  Args:
    function: maps `[b, ...]` to `[b, ...]` for any b.
    x: `[B, ...]`.
    values: number of intermediate values for each image.
  """
  (chunks,) = _split((x,), values)
  shape = jax.eval_shape(function, chunks[:, 0]).shape

  def body(i, output):
    y = function(lax.dynamic_index_in_dim(chunks, i, 1, keepdims=False))
    return lax.dynamic_update_index_in_dim(output, y, i, 1)

  count = chunks.shape[1]
  output = jnp.zeros((shape[0], count, *shape[1:]), x.dtype)
  return lax.fori_loop(0, count, body, output).reshape(-1, *shape[1:])


def sum_chunks(
  function: Callable[..., Array], *arrays: Array, values: int
) -> Array:
  """Sums the values of a function over chunks of a batch.

  Args:
    function: maps arrays `[b, ...]` to a sum over b.
    *arrays: `[B, ...]` each.
    values: number of intermediate values for each image.
  """
  split = _split(arrays, values)

  def body(i, total):
    chunk = (lax.dynamic_index_in_dim(a, i, 1, keepdims=False) for a in split)
    return total + function(*chunk)

  first = jax.eval_shape(function, *(array[:, 0] for array in split))
  zeros = jnp.zeros(first.shape, first.dtype)
  return lax.fori_loop(0, split[0].shape[1], body, zeros)


def _split(arrays: tuple[Array, ...], values: int) -> list[Array]:
  """Reshapes `[B, ...]` to `[B / n, n, ...]` for n chunks, at least 2.

  A chunk takes one image of each of B / n groups: the groups, and not the
  chunks, are spread over the devices of a sharded batch. XLA would remove a
  loop of one iteration.
  """
  batch = arrays[0].shape[0]
  limit = max(min(VALUES // max(values, 1), batch // 2), 1)
  size = max(n for n in range(1, limit + 1) if batch % n == 0)
  return [a.reshape(size, batch // size, *a.shape[1:]) for a in arrays]

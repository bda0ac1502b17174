"""Metrics as (sum, count) pairs, which add up over batches and devices."""

from collections.abc import Callable, Mapping, Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np

from dlcore.typing import Array, Batch, Metrics


def weights(batch: Batch, size: int) -> Array:
  """Returns the batch's `mask`, or ones: float32 `[B]`, 0 marks padding."""
  return batch["mask"] if "mask" in batch else jnp.ones(size, jnp.float32)


def weighted(values: Array, mask: Array) -> tuple[Array, Array]:
  """Returns the weighted sum of `values` and the sum of the weights.

  A value whose weight is 0 is excluded even if it is not finite.

  Args:
    values: `[B]`.
    mask: float32 `[B]`, the weights.

  Raises:
    AssertionError: the shapes differ.
  """
  chex.assert_equal_shape([values, mask])
  values = jnp.where(mask > 0, values.astype(jnp.float32) * mask, 0.0)
  return jnp.sum(values), jnp.sum(mask)


def total(parts: Sequence[Metrics]) -> Metrics:
  """Returns the totals of (sum, count) pairs, on the host in float64."""
  return jax.tree.map(
    lambda *leaves: np.sum(leaves, axis=0, dtype=np.float64),
    *jax.device_get(list(parts)),
  )


def compute(
  sums: Metrics, derived: Callable[[Metrics], Mapping[str, float]]
) -> dict[str, float]:
  """Returns sum / count of every metric on the host; NaN if count is 0.

  Args:
    sums: (sum, count) pairs. Names that start with an underscore are inputs
      of `derived` only and are not returned.
    derived: `Task.derived`, which returns functions of the sums.
  """
  sums = jax.device_get(sums)
  with np.errstate(divide="ignore", invalid="ignore"):
    values = {
      name: float(np.float64(value) / np.float64(count))
      for name, (value, count) in sums.items()
      if not name.startswith("_")
    }
  return {**values, **derived(sums)}

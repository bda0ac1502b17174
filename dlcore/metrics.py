"""Metrics as sums and counts, which add up over batches and devices."""

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
  """Returns the sum of `values` where `mask` counts, and its count.

  A masked value is left out even where it is not finite.

  Args:
    values: `[B]`.
    mask: float32 `[B]`.

  Raises:
    AssertionError: the shapes differ.
  """
  chex.assert_equal_shape([values, mask])
  values = jnp.where(mask > 0, values.astype(jnp.float32) * mask, 0.0)
  return jnp.sum(values), jnp.sum(mask)


def total(parts: Sequence[Metrics]) -> Metrics:
  """Adds the sums and the counts of the same metrics on the host, float64."""
  return jax.tree.map(
    lambda *leaves: np.sum(leaves, axis=0, dtype=np.float64),
    *jax.device_get(list(parts)),
  )


def compute(
  sums: Metrics, derived: Callable[[Metrics], Mapping[str, float]]
) -> dict[str, float]:
  """Returns sum / count of every metric on the host; NaN where count is 0.

  Args:
    sums: (sum, count) pairs. A name that starts with an underscore is only
      there for `derived` and left out.
    derived: the `Task.derived` that adds functions of the sums.
  """
  sums = jax.device_get(sums)
  with np.errstate(divide="ignore", invalid="ignore"):
    values = {
      name: float(np.float64(value) / np.float64(count))
      for name, (value, count) in sums.items()
      if not name.startswith("_")
    }
  return {**values, **derived(sums)}

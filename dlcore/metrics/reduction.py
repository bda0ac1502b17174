"""Metrics as (sum, count) pairs, which add up over batches and devices."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from dlcore.typing import Array, Batch, Metrics


def weights(batch: Batch, size: int) -> Array:
  """Returns the weights of the examples of a batch, float32 `[B]`.

  They are the product of `mask`, in which 0 marks padding, and `weight`, the
  row weights of the data; ones without either.
  """
  mask = batch["mask"] if "mask" in batch else jnp.ones(size, jnp.float32)
  if "weight" not in batch:
    return mask
  return mask * jnp.asarray(batch["weight"], jnp.float32)


def weighted(values: Array, mask: Array) -> tuple[Array, Array]:
  """Returns the weighted sum of `values` and the sum of the weights.

  A value whose weight is 0 is excluded even if it is not finite.

  Args:
    values: `[B]`, or `[B, ...]` with a weight for each position.
    mask: float32, of the same shape, the weights.

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


def mean(pair: tuple[Any, Any]) -> float:
  """Returns sum / count on the host in float64; NaN if the count is 0."""
  value, count = (np.float64(part) for part in pair)
  with np.errstate(divide="ignore", invalid="ignore"):
    return float(value / count)


def f1(true_positives: float, predicted: float, actual: float) -> float:
  """Returns the harmonic mean of precision and recall, for `Task.derived`.

  Args:
    true_positives: number of positives that are predicted as such.
    predicted: number of predicted positives.
    actual: number of positives.

  Returns:
    A float from 0 to 1; NaN without predicted and actual positives.
  """
  return 2 * mean((true_positives, predicted + actual))


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
  values = {
    name: mean(pair) for name, pair in sums.items() if not name.startswith("_")
  }
  return values | {name: float(v) for name, v in derived(sums).items()}

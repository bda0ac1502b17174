"""Weighted sums over examples, of NumPy arrays and of JAX arrays alike.

The functions of this package take their operations from
`array.__array_namespace__()`: a metric of sums is one function, which runs
inside of `jit` on batches, and in float64 on the host.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dlcore.typing import Metrics

Predictions = Mapping[str, Any]
"""Arrays `[B, ...]` by name, see `metrics.Metric`."""


class Sums(NamedTuple):
  """A metric that is a function of sums over examples."""

  sums: Callable[[Predictions, Any, Any], Metrics]
  """`(predictions, targets, weights) -> {name: (sum, count)}`, linear in the
  weights, `[B]` or, for several weightings at once, `[R, B]`."""

  value: Callable[[Metrics], float]
  """`{name: (sum, count)} -> value`, on the host."""


def mean_of(values: Callable[[Predictions, Any], Any]) -> Sums:
  """Returns the metric that is the weighted mean of a value per example.

  Args:
    values: `(predictions, targets) -> [B]`.
  """

  def sums(predictions: Predictions, targets: Any, weights: Any) -> Metrics:
    return {"mean": pair(values(predictions, targets), weights)}

  return Sums(sums, lambda sums: ratio(*sums["mean"]))


def pair(values: Any, weights: Any) -> tuple[Any, Any]:
  """Returns the weighted sum of `values` and the sum of the weights.

  A value whose weight is 0 is excluded even if it is not finite.

  Args:
    values: `[B]`, or `[B, C]` for a sum for each class.
    weights: `[B]`, or in NumPy `[R, B]`, whose values have to be finite.

  Returns:
    The sum, `[C]` or a scalar, and the count; both with a first axis `[R]` for
    several weightings.
  """
  xp = values.__array_namespace__()
  count = weights.sum(-1)
  dtype = xp.result_type(weights.dtype, xp.float32)
  if weights.ndim > 1:
    return weights @ values.astype(dtype), count
  # Not a matrix product, which accelerators round to fewer bits.
  columns = weights.reshape(-1, *[1] * (values.ndim - 1))
  products = xp.where(columns > 0, values.astype(dtype) * columns, 0)
  return products.sum(0), count


def ratio(value: Any, count: Any) -> float:
  """Returns `value / count` on the host in float64; NaN if both are 0."""
  value, count = float(value), float(count)
  return value / count if count else float("nan")

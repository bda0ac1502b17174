"""Bias corrections of averages, without loss in float32."""

import math

import jax
import jax.numpy as jnp

from dlcore.optim.settings import Number
from dlcore.typing import Array, PyTree


def decay_exponent(b: Number) -> Number:
  """Returns `-log(b)`, of a Python number in float64; infinity for 0."""
  if isinstance(b, jax.Array):
    return -jnp.log1p(b - 1)
  return -math.log(b) if b else math.inf


def total_weight(b: Number, count: Array) -> Array:
  """Returns `1 - b**count`, the sum of the weights of an average, float32.

  Optax subtracts in float32, which loses 2e-5 of it at `b=0.999`, and 1.4e-3
  at `b=0.99999`.

  Args:
    b: decay of the average, a number or a traced scalar.
    count: number of updates, at least 1.
  """
  return -jnp.expm1(-decay_exponent(b) * count)


def correct_bias(average: PyTree, b: Number, count: Array) -> PyTree:
  """Divides an average by its `total_weight`, in the dtype of each array.

  Args:
    average: arrays, with 0 as their initial values.
    b: decay of the average.
    count: number of updates, at least 1.
  """
  weight = total_weight(b, count)
  return jax.tree.map(lambda array: array / weight.astype(array.dtype), average)

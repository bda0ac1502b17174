"""Weights of classes in the training loss."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import jax.numpy as jnp
import numpy as np

from dlcore.errors import UserError
from dlcore.typing import Array

BALANCED = "balanced"


def resolve_weights(
  weights: Any, counts: Sequence[int], size: int = 0
) -> tuple[float, ...]:
  """Returns the weights of classes as floats, `()` for weights of 1.

  Args:
    weights: numbers, or `"balanced"`. That gives N / (C * count) for a class of
      `count` examples, as in scikit-learn; for labels that co-occur (N - count)
      / count.
    counts: number of examples of each class in train; empty if it is unknown.
    size: N for labels that co-occur, else 0.

  Raises:
    UserError: they are not finite numbers of at least 0, one of them above 0,
      or the counts are unknown.
  """
  if isinstance(weights, str):
    weights = (weights,)
  values = np.asarray(weights, object)
  if values.shape == (1,) and isinstance(values[0], str):
    return _balanced(values[0], np.asarray(counts, np.float64), size)
  if values.ndim != 1 or not all(
    isinstance(weight, Real) and math.isfinite(weight) for weight in values
  ):
    raise UserError(
      "expected class_weights to be numbers, one per class, or 'balanced'",
      f"got {weights!r}",
    )
  if len(values) and not min(values) >= 0 < max(values):
    raise UserError(
      "expected class_weights to be >= 0, and one of them above 0",
      f"got {weights!r}",
    )
  return tuple(map(float, values))


def weight_array(weights: Sequence[float], num_classes: int) -> Array:
  """Returns the weights as float32 `[C]`.

  Raises:
    UserError: there is not one for each class.
  """
  if len(weights) != num_classes:
    raise UserError(
      f"expected class_weights of {num_classes} numbers, one per class",
      f"got {len(weights)}",
    )
  return jnp.asarray(weights, jnp.float32)


def label_weights(by_class: Array, labels: Array) -> Array:
  """Returns the weight of the class of each label, float32 of their shape.

  A label of no class has a loss of NaN, which a weight of 0 would hide: its
  weight is 1.

  Args:
    by_class: float32 `[C]`, see `weight_array`.
    labels: int.
  """
  return by_class.at[labels].get(
    mode="fill", fill_value=1, wrap_negative_indices=False
  )


def _balanced(word: str, counts: np.ndarray, size: int) -> tuple[float, ...]:
  if word != BALANCED:
    raise UserError(
      "expected class_weights to be numbers, one per class, or 'balanced'",
      f"got {word!r}",
    )
  if not counts.size:
    raise UserError(
      "expected data that counts its classes for class_weights='balanced'",
      "got data without counts, such as a stream",
      "pass a number for each class",
    )
  # A class without examples has no loss either.
  known = np.maximum(counts, 1)
  if size:
    return tuple(np.maximum((size - counts) / known, 1 / size).tolist())
  return tuple((counts.sum() / (len(counts) * known)).tolist())

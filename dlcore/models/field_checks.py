"""Checks of the fields of models; errors name the field and its value."""

import dataclasses
from collections.abc import Callable
from numbers import Integral, Real
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dlcore.errors import UserError, check_choice
from dlcore.typing import Array

DTYPES = ("float32", "bfloat16", "float16")

MAX_INT = 2**31 - 1

MAX_DEPTH = 2000
"""Maximum number of layers or blocks. Tracing a model takes up to 20 ms for
each, and the deepest published ones have 1,000 (Wang et al. 2022,
arXiv:2203.00555)."""

DEPTHS = ("depth", "decoder_depth", "depths", "stages")
"""Fields that count blocks, unless they are nested tuples."""

InheritedRate = Annotated[float | Array, "-1 for the rate of another field"]
"""Annotation of a rate that is that of another field by default. A config can
hold -1, but not None."""


def inherited(rate: float | Array, other: float | Array) -> float | Array:
  """Returns `rate`, or `other` if it is a Python -1."""
  return other if isinstance(rate, Real) and rate == -1 else rate


def check_fields(model: nn.Module) -> None:
  """Checks that the fields of a model have the types of their annotations.

  Rates, annotated as `float | Array`, are in [0, 1) or traced.

  Raises:
    UserError: a field has another type, an integer is beyond int32, or the
      model has too many layers.
  """
  for field in dataclasses.fields(model):
    value = getattr(model, field.name)
    if field.name == "dtype":
      _check_dtype(value)
    elif field.type in FIELD_TYPES and field.name not in ("name", "parent"):
      description, is_valid = FIELD_TYPES[field.type]
      if not is_valid(value):
        raise UserError(
          f"expected {field.name} to be {description}", f"got {value!r}"
        )
    if any(_is_integer(n) and abs(n) > MAX_INT for n in _flatten(value)):
      raise UserError(
        f"expected {field.name} to be in the range of int32", f"got {value!r}"
      )
    check_depth(field.name, _count_layers(field.name, value))


def check_depth(name: str, depth: int) -> None:
  """Checks the number of layers that a field asks for.

  Raises:
    UserError: they are more than `MAX_DEPTH`.
  """
  if depth > MAX_DEPTH:
    raise UserError(
      f"expected {name} to be at most {MAX_DEPTH:,} layers", f"got {depth:,}"
    )


def check_at_least(model: nn.Module, minimum: int, *names: str) -> None:
  """Checks that fields, or all elements of tuples, are integers >= minimum.

  Raises:
    UserError: a field has a smaller or another value.
  """
  for name in names:
    value = getattr(model, name)
    for number in _flatten(value):
      if not _is_integer(number) or number < minimum:
        raise UserError(
          f"expected {name} to be integers >= {minimum}"
          if isinstance(value, tuple | list)
          else f"expected {name} to be an integer >= {minimum}",
          f"got {value!r}",
        )


def check_conv_stages(stages: Any) -> None:
  """Checks that `stages` has at least one stage and no stage is empty.

  Raises:
    UserError: it is not such a nested tuple.
  """
  valid = isinstance(stages, tuple | list) and len(stages) > 0
  if not valid or not all(isinstance(s, tuple | list) and s for s in stages):
    raise UserError(
      "expected stages with at least one convolution each, such as "
      "((16,), (32, 32))",
      f"got {stages!r}",
    )


def check_head(model: nn.Module, *heads: str) -> None:
  """Checks `head`, and that classifiers have `num_classes`.

  Args:
    model: has the fields `head` and `num_classes`.
    *heads: valid values of `head` other than None.

  Raises:
    UserError: `head` is unknown or a classifier has no classes.
  """
  if model.head is None:
    return
  check_choice("head", model.head, heads)
  if model.head in ("classifier", "tokens"):
    check_at_least(model, 1, "num_classes")


def _check_dtype(value: Any) -> None:
  try:
    supported = jnp.dtype(value).name in DTYPES
  except TypeError:
    supported = False
  if not supported:
    raise UserError(f"expected dtype to be one of {DTYPES}", f"got {value!r}")


def _count_layers(name: str, value: Any) -> int:
  """Returns the number of layers of a field, 0 if it is no number of them."""
  numbers = _flatten(value)
  is_nested = isinstance(value, tuple | list) and any(
    isinstance(item, tuple | list) for item in value
  )
  if name in DEPTHS and not is_nested and all(map(_is_integer, numbers)):
    return max(sum(numbers), len(numbers))
  return len(numbers)


def _flatten(value):
  if isinstance(value, tuple | list):
    return [number for item in value for number in _flatten(item)]
  return [value]


def _is_integer(value: Any) -> bool:
  return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
  return isinstance(value, Real) and not isinstance(value, bool)


def _is_rate(value: Any) -> bool:
  if isinstance(value, Array | np.ndarray):  # Includes tracers.
    return value.ndim == 0 and jnp.issubdtype(value.dtype, jnp.floating)
  return _is_number(value) and 0 <= value < 1


def _is_string(value: Any) -> bool:
  return isinstance(value, str)


def _or_none(is_valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
  return lambda value: value is None or is_valid(value)


FIELD_TYPES: dict[Any, tuple[str, Callable[[Any], bool]]] = {
  bool: ("True or False", lambda value: isinstance(value, bool)),
  int: ("an integer", _is_integer),
  int | None: ("an integer or None", _or_none(_is_integer)),
  float: ("a number", _is_number),
  str: ("a string", _is_string),
  str | None: ("a string or None", _or_none(_is_string)),
  float | Array: ("a rate in [0, 1)", _is_rate),
  InheritedRate: (
    "a rate in [0, 1), or -1",
    lambda value: _is_rate(value) or (_is_number(value) and value == -1),
  ),
}
"""Description and predicate of the valid values of each annotation."""

"""Checks of JSON values that may come from a file of an untrusted source.

Each function returns the value in the type of its field, or raises one of
`MALFORMED`, which `parse` turns into a message with the field's name.
"""

import math
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

MAX_VALUES = 1 << 28
"""Values in one example, all inputs together."""

MAX_INPUTS = 16
MAX_AXES = 8
MAX_NAME = 200
"""Characters in the name of an array."""

DTYPES = (
  "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64",
  "int64", "float16", "float32", "float64",
)  # fmt: skip

MALFORMED = (
  ArithmeticError,
  AttributeError,
  LookupError,
  TypeError,
  ValueError,
)


def parse(name: str, parser: Callable[[Any], Any] | None, value: Any) -> Any:
  """Returns `parser(value)`.

  Raises:
    ValueError: there is no parser, as the field is unknown, or the value is
      malformed; the message is `name=value`, shortened.
  """
  if parser is not None:
    try:
      return parser(value)
    except MALFORMED:
      pass
  raise ValueError(f"{name[:MAX_NAME]}={reprlib.repr(value)}")


def text(value: Any) -> str:
  """Returns a string."""
  return _checked(value, isinstance(value, str))


def names(value: Any) -> tuple[str, ...]:
  """Returns a tuple of strings."""
  return tuple(text(name) for name in _list(value))


def texts(value: Any) -> dict[str, str]:
  """Returns strings by name."""
  _checked(value, isinstance(value, dict))
  return {text(name): text(entry) for name, entry in value.items()}


def number(value: Any) -> float:
  """Returns a finite number."""
  return _finite(value)


def numbers(value: Any) -> tuple[float, ...]:
  """Returns a tuple of finite numbers."""
  return tuple(_finite(number) for number in _list(value))


def count(value: Any) -> int:
  """Returns an integer that is at least 0."""
  return _checked(value, type(value) is int and value >= 0)


def flag(value: Any) -> bool:
  """Returns true or false."""
  return _checked(value, isinstance(value, bool))


def counts(value: Any) -> tuple[int, ...]:
  """Returns a tuple of integers that are at least 0."""
  return tuple(count(number) for number in _list(value))


def statistics(value: Any) -> dict[str, list[float]]:
  """Returns lists of means and of positive standard deviations."""
  mean, std = value["mean"], value["std"]
  return {
    "mean": [_finite(number) for number in _list(mean)],
    "std": [_positive(number) for number in _list(std)],
  }


def target_statistics(value: Any) -> dict[str, Any]:
  """Returns a mean and a positive standard deviation, or a list of each."""
  if isinstance(value["mean"], list):
    return statistics(value)
  return {"mean": _finite(value["mean"]), "std": _positive(value["std"])}


def check_statistics(value: Mapping[str, Any], size: int) -> None:
  """Checks that both lists of a normalization have `size` numbers.

  Raises:
    ValueError: they have another length.
  """
  sizes = (len(value["mean"]), len(value["std"]))
  if sizes != (size, size):
    raise ValueError(
      f"normalization with {sizes[0]} means and {sizes[1]} deviations for "
      f"{size} channels or columns"
    )


def inputs(value: Any) -> dict[str, tuple[tuple[int, ...], str]]:
  """Returns shape and dtype by name, within bounds on number and size."""
  _checked(value, isinstance(value, dict) and len(value) <= MAX_INPUTS)
  specs = {
    _checked(name, 0 < len(name) <= MAX_NAME): (
      shape(entry["shape"]),
      text(entry["dtype"]),
    )
    for name, entry in value.items()
  }
  check_inputs(specs)
  return specs


def check_inputs(
  specs: Mapping[str, tuple[tuple[int, ...], str]],
) -> None:
  """Checks the dtypes and the total size of the inputs of one example.

  Raises:
    ValueError: a dtype is not numeric, or the inputs are empty or too large.
  """
  for name, (sizes, dtype) in specs.items():
    if dtype not in DTYPES or min(sizes, default=1) < 1:
      raise ValueError(f"inputs={name}: {dtype}{list(sizes)}")
  total = sum(math.prod(sizes) for sizes, _ in specs.values())
  if total > MAX_VALUES:
    raise ValueError(f"inputs with {total:,} of at most {MAX_VALUES:,} values")


def shape(value: Any) -> tuple[int, ...]:
  """Returns the shape of one example."""
  _checked(value, len(_list(value)) <= MAX_AXES)
  return tuple(_checked(n, type(n) is int and n > 0) for n in value)


def _list(value: Any) -> list[Any]:
  return _checked(value, isinstance(value, list))


def _finite(value: Any) -> float:
  number = type(value) in (int, float) and math.isfinite(value)
  return float(_checked(value, number))


def _positive(value: Any) -> float:
  return _checked(_finite(value), value > 0)


def _checked(value: Any, condition: bool) -> Any:
  if not condition:
    raise ValueError
  return value

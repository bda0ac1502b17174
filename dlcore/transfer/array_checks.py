"""Checks and conversions of one published array: axes, shape, dtype, values."""

import re
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from dlcore.errors import UserError
from dlcore.filesystem import first_line, quoted
from dlcore.transfer import input_channels
from dlcore.transfer.families.family import Resize
from dlcore.transfer.families.name_rules import Read

CHUNK = 1 << 20
"""Number of values that are checked at a time."""


def split(read: Read, array: np.ndarray) -> tuple[np.ndarray, ...]:
  """Returns the model's arrays that a published array contains.

  Args:
    read: the rule that applies.
    array: the published array.

  Raises:
    ValueError: the array does not have the axes of the rule.
  """
  try:
    arrays = read.layout.load(array)
  except (IndexError, TypeError) as error:
    raise ValueError(first_line(error)) from error
  if len(arrays) != len(read.paths):
    raise ValueError(f"{len(arrays)} parts instead of {len(read.paths)}")
  return arrays


def reshape(
  array: np.ndarray,
  path: str,
  shape: tuple[int, ...],
  resizes: Mapping[str, Resize],
) -> tuple[np.ndarray, str]:
  """Returns an array in the model's shape and a note on the change.

  Args:
    array: in the model's layout.
    path: the model's path.
    shape: the model's shape.
    resizes: `Family.resize`.

  Returns:
    The array, and the change for the report, "" if the shape is equal.

  Raises:
    ValueError: the shape differs and cannot be changed to it.
  """
  if array.shape == shape:
    return array, ""
  change = f"{list(array.shape)} to {list(shape)}"
  for pattern, resize in resizes.items():
    if re.search(pattern, path):
      return resize(array, shape), f"{change}, resized"
  if len(shape) != 4 or array.ndim != 4:
    raise ValueError
  new = input_channels.adapt(array, shape)
  note = input_channels.CHANNELS[array.shape[2], shape[2]]
  return new, f"{change}: {note}"


def check_dtype(name: str, dtype: np.dtype, expected: np.dtype) -> None:
  """Checks that both dtypes are floating, or neither.

  Raises:
    UserError: one is floating and the other is not.
  """
  if _is_float(dtype) != _is_float(expected):
    raise UserError(
      f"expected {expected} in the array {quoted(name)}",
      f"got {dtype}",
      "choose weights that are not quantized",
    )


def check_finite(name: str, array: np.ndarray) -> None:
  """Checks that all values are finite, `CHUNK` at a time.

  Raises:
    UserError: a value is NaN or infinite.
  """
  values = array.reshape(-1)
  starts = range(0, values.size, CHUNK)
  if not all(np.isfinite(values[i : i + CHUNK]).all() for i in starts):
    raise UserError(
      f"expected finite values in the array {quoted(name)}",
      "got NaN or infinite values",
      "download or train the weights again",
    )


def _is_float(dtype: np.dtype) -> bool:
  return bool(jnp.issubdtype(dtype, jnp.floating))

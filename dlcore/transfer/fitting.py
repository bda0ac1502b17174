"""One published array for one of ours: its shape, its dtype, its numbers."""

import re
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from dlcore.errors import UserError
from dlcore.transfer import files, resize
from dlcore.transfer.families.family import Resize
from dlcore.transfer.rules import Layout

CHUNK = 1 << 20
"""How many numbers are looked at in one go, to see that they are finite."""


def laid_out(
  name: str, array: np.ndarray, layout: Layout, count: int
) -> tuple[np.ndarray, ...]:
  """Returns the `count` arrays of ours that a published one holds.

  Raises:
    UserError: it has not the axes for that.
  """
  try:
    arrays = layout.load(array)
    if len(arrays) != count:
      raise ValueError(f"{len(arrays)} parts in place of {count}")
  except (ValueError, IndexError, TypeError) as error:
    raise UserError(
      f"expected other axes of the published array {files.shown(name)}",
      f"got the shape {array.shape}: {error}",
      "take weights of this very kind of model, or name another family",
    ) from error
  return arrays


def fitted(
  array: np.ndarray,
  path: str,
  shape: tuple[int, ...],
  resizes: Mapping[str, Resize],
) -> tuple[np.ndarray, str]:
  """Returns an array in the shape of ours, and what was done, "" if nothing.

  Args:
    array: in our layout.
    path: ours.
    shape: ours.
    resizes: of the family, by regex over our paths.

  Raises:
    ValueError: it has another shape and cannot be brought to ours.
  """
  if array.shape == shape:
    return array, ""
  change = f"{list(array.shape)} to {list(shape)}"
  for pattern, function in resizes.items():
    if re.search(pattern, path):
      return function(array, shape), f"{change}, resized"
  if len(shape) != 4 or array.ndim != 4:
    raise ValueError
  new = resize.channels(array, shape)
  return new, f"{change}: {resize.CHANNELS[array.shape[2], shape[2]]}"


def check_kind(name: str, dtype: np.dtype, wanted: np.dtype) -> None:
  """Checks that fractions are put where fractions belong, and nothing else.

  Raises:
    UserError: they are not.
  """
  if _is_float(dtype) != _is_float(wanted):
    raise UserError(
      f"expected {wanted} in the published array {files.shown(name)}",
      f"got {dtype}",
      "take the original weights, which are not quantised",
    )


def check_finite(name: str, array: np.ndarray) -> None:
  """Checks that no number is NaN or infinite, some at a time.

  Raises:
    UserError: one is.
  """
  numbers = array.reshape(-1)
  starts = range(0, numbers.size, CHUNK)
  if not all(np.isfinite(numbers[i : i + CHUNK]).all() for i in starts):
    raise UserError(
      f"expected finite numbers in the published array {files.shown(name)}",
      "got NaN or infinite ones",
      "download or train the weights again",
    )


def _is_float(dtype: np.dtype) -> bool:
  return bool(jnp.issubdtype(dtype, jnp.floating))

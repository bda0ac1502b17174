"""Arithmetic of pixels: ranges of dtypes, rounding, sampling, settings."""

import numbers
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from dlcore.errors import UserError
from dlcore.typing import Array

Transform = Callable[[Array, Array], Array]
"""`(key, image [Y, X, C]) -> image` of the same shape and dtype.

Values stay in the range of the dtype, for floats 0 to 1 or the extremes of the
image.
"""


def max_value(image: Array) -> float:
  """Returns the value of white: 255 for uint8, 1 for floats."""
  if jnp.issubdtype(image.dtype, jnp.integer):
    return float(jnp.iinfo(image.dtype).max)
  return 1.0


def cast_like(values: Array, image: Array) -> Array:
  """Clips float `values` to the range of `image` and casts to its dtype.

  The range of a float image is 0 to 1, extended to its own extremes.
  """
  if jnp.issubdtype(image.dtype, jnp.integer):
    values = jnp.round(jnp.clip(values, 0, max_value(image)))
    return values.astype(image.dtype)
  low = jnp.minimum(0.0, jnp.min(image))
  high = jnp.maximum(1.0, jnp.max(image))
  return jnp.clip(values, low, high).astype(image.dtype)


def warp(image: Array, matrix: Array) -> Array:
  """Applies an affine transformation with bilinear interpolation.

  Args:
    image: `[Y, X, C]`.
    matrix: `[2, 3]`, maps (row, column, 1) of an output pixel to the input
      coordinates; rows and columns are relative to the center of the image.

  Returns:
    An image of the same shape and dtype; pixels from outside are 0.
  """
  rows, columns = image.shape[:2]
  center = jnp.array([(rows - 1) / 2, (columns - 1) / 2])
  grid = jnp.stack(
    jnp.meshgrid(jnp.arange(rows), jnp.arange(columns), indexing="ij"), -1
  )
  coordinates = (grid - center) @ matrix[:, :2].T + matrix[:, 2] + center
  corner = jnp.floor(coordinates).astype(jnp.int32)
  fraction = (coordinates - corner)[..., None]
  # A border of zeros represents every pixel outside of the image.
  padded = jnp.pad(image, ((1, 1), (1, 1), (0, 0)))
  flat = padded.reshape(-1, image.shape[-1]).astype(jnp.float32)

  def pixel(down: int, right: int) -> Array:
    row = jnp.clip(corner[..., 0] + down, -1, rows) + 1
    column = jnp.clip(corner[..., 1] + right, -1, columns) + 1
    return flat[row * (columns + 2) + column]

  down, right = fraction[:, :, 0], fraction[:, :, 1]
  top = pixel(0, 0) * (1 - right) + pixel(0, 1) * right
  bottom = pixel(1, 0) * (1 - right) + pixel(1, 1) * right
  values = top * (1 - down) + bottom * down
  if jnp.issubdtype(image.dtype, jnp.integer):
    values = jnp.round(values)  # An interpolation stays within the range.
  return values.astype(image.dtype)


def uniform(key: Array, low: Array | float, high: Array | float) -> Array:
  """Returns a random float32 scalar, uniform from `low` to `high`."""
  return jax.random.uniform(key, (), jnp.float32, low, high)


def is_static(value: Array | float) -> bool:
  """Returns whether a setting is a Python number, known at compile time."""
  return not isinstance(value, jax.Array)


def check_switch(name: str, value: Array | bool) -> None:
  """Raises a UserError unless a setting is a tracer or a Boolean."""
  if not isinstance(value, Tracer | bool | np.bool_):
    raise UserError(
      f"expected {name} to be True or False", f"got {value!r:.60}"
    )


MAX_PIXELS = 65_535
"""The greatest distance in an image."""


def check_range(
  name: str, value: Array | float, low: float, high: float, unit: str = ""
) -> None:
  """Raises a UserError unless a setting is a tracer or a number in range."""
  if isinstance(value, Tracer):
    return
  is_number = np.ndim(value) == 0 and isinstance(
    value, numbers.Real | np.ndarray | jax.Array
  )
  if not is_number or not low <= value <= high:
    raise UserError(
      f"expected {name} from {low:g} to {high:g}{unit}",
      f"got {value!s:.60}",
    )

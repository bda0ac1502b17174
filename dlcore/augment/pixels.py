"""What augmentations share: the white of a dtype, rounding, warping."""

import jax
import jax.numpy as jnp

from dlcore.errors import UserError
from dlcore.typing import Array


def white(image: Array) -> float:
  """Returns the largest value of a pixel: 255 for uint8, 1 for floats."""
  if jnp.issubdtype(image.dtype, jnp.integer):
    return float(jnp.iinfo(image.dtype).max)
  return 1.0


def like(values: Array, image: Array) -> Array:
  """Returns float `values` in the range and dtype of `image`.

  Float images keep what lies outside of 0 to 1, if they had such values.
  """
  if jnp.issubdtype(image.dtype, jnp.integer):
    values = jnp.round(jnp.clip(values, 0, white(image)))
    return values.astype(image.dtype)
  least = jnp.minimum(0.0, jnp.min(image))
  most = jnp.maximum(1.0, jnp.max(image))
  return jnp.clip(values, least, most).astype(image.dtype)


def warp(image: Array, matrix: Array) -> Array:
  """Samples `image` at other places, linearly between pixels.

  Args:
    image: `[Y, X, C]`.
    matrix: `[2, 3]`, takes (row, column, 1) of a new pixel to the old place;
      rows and columns are counted from the centre of the image.

  Returns:
    An image of the same shape and dtype; zeros come in from outside.
  """
  rows, columns = image.shape[:2]
  center = jnp.array([(rows - 1) / 2, (columns - 1) / 2])
  grid = jnp.stack(
    jnp.meshgrid(jnp.arange(rows), jnp.arange(columns), indexing="ij"), -1
  )
  places = (grid - center) @ matrix[:, :2].T + matrix[:, 2] + center
  corner = jnp.floor(places).astype(jnp.int32)
  part = (places - corner)[..., None]
  # A frame of zeros stands for all that lies outside.
  padded = jnp.pad(image, ((1, 1), (1, 1), (0, 0)))
  flat = padded.reshape(-1, image.shape[-1]).astype(jnp.float32)

  def pixel(down: int, right: int) -> Array:
    row = jnp.clip(corner[..., 0] + down, -1, rows) + 1
    column = jnp.clip(corner[..., 1] + right, -1, columns) + 1
    return flat[row * (columns + 2) + column]

  top = pixel(0, 0) * (1 - part[:, :, 1]) + pixel(0, 1) * part[:, :, 1]
  bottom = pixel(1, 0) * (1 - part[:, :, 1]) + pixel(1, 1) * part[:, :, 1]
  mixed = top * (1 - part[:, :, 0]) + bottom * part[:, :, 0]
  if jnp.issubdtype(image.dtype, jnp.integer):
    mixed = jnp.round(mixed)  # Between its neighbours, so within the range.
  return mixed.astype(image.dtype)


def uniform(key: Array, least: float, most: float) -> Array:
  """Draws a float32 scalar between `least` and `most`."""
  return jax.random.uniform(key, (), jnp.float32, least, most)


def check(name: str, value, least: float, most: float, unit: str = "") -> None:
  """Refuses a setting of `data.augment` that is out of its range."""
  if not least <= value <= most:
    raise UserError(
      f"expected data.augment.{name} from {least:g} to {most:g}{unit}",
      f"got {value}",
    )

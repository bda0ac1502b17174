"""Augmentations that move pixels."""

import jax
import jax.numpy as jnp

from dlcore.errors import UserError
from dlcore.typing import Array


def shift(pixels: int):
  """Moves an image by up to `pixels` rows and columns; zeros come in.

  Args:
    pixels: largest move in each direction, drawn uniformly.

  Returns:
    `(key, image [Y, X, C]) -> image`, of the same shape and dtype.
  """
  if pixels < 0:
    raise UserError("expected data.augment.shift >= 0 pixels", f"got {pixels}")

  def apply(key: Array, image: Array) -> Array:
    if pixels >= min(image.shape[:2]):
      raise UserError(
        "expected data.augment.shift of less than the image has pixels",
        f"got {pixels} for images of {image.shape[0]}x{image.shape[1]}",
      )
    border = ((pixels, pixels), (pixels, pixels), (0, 0))
    top, left = jax.random.randint(key, (2,), 0, 2 * pixels + 1)
    padded = jnp.pad(image, border)
    return jax.lax.dynamic_slice(padded, (top, left, 0), image.shape)

  return apply


def flip(switch: bool):
  """Mirrors an image left to right, every other time on average.

  Returns:
    `(key, image [Y, X, C]) -> image`, of the same shape and dtype.
  """
  del switch

  def apply(key: Array, image: Array) -> Array:
    return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)

  return apply

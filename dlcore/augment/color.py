"""Augmentations of brightness, contrast and saturation."""

import jax.numpy as jnp

from dlcore.augment.pixels import Transform, cast_like, check_range, uniform
from dlcore.typing import Array

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in gray (ITU-R BT.601)."""


def brightness(strength: Array | float) -> Transform:
  """Multiplies an image by a random factor of 1 - strength to 1 + strength."""
  return _blended("brightness", strength, black)


def contrast(strength: Array | float) -> Transform:
  """Scales the difference between an image and its mean gray.

  Args:
    strength: maximum change of the factor, 0 to 1; 1 allows a uniform gray.
  """
  return _blended("contrast", strength, mean_gray)


def saturation(strength: Array | float) -> Transform:
  """Scales the difference between an image and its gray version.

  Args:
    strength: maximum change of the factor, 0 to 1; 1 allows a gray image.

  An image whose number of channels is not three is returned unchanged.
  """
  return _blended("saturation", strength, gray)


def black(image: Array) -> Array:
  """Returns zeros."""
  return jnp.zeros_like(image)


def gray(image: Array) -> Array:
  """Returns the float gray version, `[Y, X, C]`."""
  if image.shape[-1] != 3:
    return image
  value = image @ jnp.array(LUMA, image.dtype)
  return jnp.broadcast_to(value[..., None], image.shape)


def mean_gray(image: Array) -> Array:
  """Returns a uniform image with the mean of the gray version."""
  return jnp.full_like(image, jnp.mean(gray(image)))


def blend(image: Array, other: Array, factor: Array | float) -> Array:
  """Returns `other + factor * (image - other)`, both float."""
  return other + factor * (image - other)


def _blended(name: str, strength: Array | float, other) -> Transform:
  check_range(name, strength, 0, 1)

  def apply(key: Array, image: Array) -> Array:
    values = image.astype(jnp.float32)
    factor = uniform(key, 1 - strength, 1 + strength)
    return cast_like(blend(values, other(values), factor), image)

  return apply

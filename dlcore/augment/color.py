"""Augmentations that change how bright and how colourful an image is."""

import jax.numpy as jnp

from dlcore.augment.pixels import check, like, uniform
from dlcore.typing import Array

LUMA = (0.299, 0.587, 0.114)
"""The share of red, green and blue in grey (ITU-R BT.601)."""


def brightness(strength: float):
  """Multiplies an image by `1 - strength` to `1 + strength`.

  Returns:
    `(key, image [Y, X, C]) -> image`, of the same shape, range and dtype.
  """
  return _blended("brightness", strength, black)


def contrast(strength: float):
  """Moves an image away from its mean grey, or towards it.

  Args:
    strength: largest change of the distance, 1 for all of it.

  Returns:
    `(key, image [Y, X, C]) -> image`, of the same shape, range and dtype.
  """
  return _blended("contrast", strength, mean_grey)


def saturation(strength: float):
  """Moves an image away from its grey version, or towards it.

  Args:
    strength: largest change of the distance, 1 for all of it.

  Returns:
    `(key, image [Y, X, C]) -> image`, of the same shape, range and dtype. An
    image without three channels stays as it is.
  """
  return _blended("saturation", strength, grey)


def black(image: Array) -> Array:
  """Returns zeros."""
  return jnp.zeros_like(image)


def grey(image: Array) -> Array:
  """Returns float `[Y, X, C]` without colour."""
  if image.shape[-1] != 3:
    return image
  value = image @ jnp.array(LUMA, image.dtype)
  return jnp.broadcast_to(value[..., None], image.shape)


def mean_grey(image: Array) -> Array:
  """Returns the mean of the grey image everywhere."""
  return jnp.full_like(image, jnp.mean(grey(image)))


def blend(image: Array, other: Array, factor: Array | float) -> Array:
  """Returns `other + factor * (image - other)`, both float."""
  return other + factor * (image - other)


def _blended(name: str, strength: float, other):
  check(name, strength, 0, 1)

  def apply(key: Array, image: Array) -> Array:
    values = image.astype(jnp.float32)
    factor = uniform(key, 1 - strength, 1 + strength)
    return like(blend(values, other(values), factor), image)

  return apply

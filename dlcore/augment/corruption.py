"""Augmentations that remove information: blur, noise and masked regions."""

import math

import jax
import jax.numpy as jnp

from dlcore.augment.pixels import (
  MAX_PIXELS,
  Transform,
  cast_like,
  check_range,
  is_static,
  max_value,
  uniform,
)
from dlcore.typing import Array

MAX_SIGMA = 20


def blur(sigma: Array | float) -> Transform:
  """Convolves an image with a Gaussian of random width.

  Args:
    sigma: maximum standard deviation, 0 to 20 pixels. A traced value makes
      the kernel as large as the maximum requires.
  """
  check_range("blur", sigma, 0, MAX_SIGMA, " pixels")
  static = is_static(sigma)
  radius = math.ceil(3 * (sigma if static else MAX_SIGMA))
  offsets = jnp.arange(-radius, radius + 1)

  def apply(key: Array, image: Array) -> Array:
    width = uniform(key, 0.0, sigma) + 1e-3
    weights = jnp.exp(-0.5 * jnp.square(offsets / width))
    # Both kernels end at three times the maximum.
    weights = jnp.where(abs(offsets) <= jnp.ceil(3 * sigma), weights, 0)
    weights = weights / jnp.sum(weights)
    values = image.astype(jnp.float32)
    convolve = _add_shifted if static else _multiply_banded
    for axis in (0, 1):
      values = convolve(values, weights, axis)
    return cast_like(values, image)

  return apply


def _add_shifted(values: Array, weights: Array, axis: int) -> Array:
  """Convolves along an axis, with edge padding: one addition per weight."""
  radius, size = len(weights) // 2, values.shape[axis]
  border = [(radius, radius) if axis == a else (0, 0) for a in range(3)]
  padded = jnp.pad(values, border, mode="edge")
  terms = (
    weight * jax.lax.slice_in_dim(padded, start, start + size, axis=axis)
    for start, weight in enumerate(weights)
  )
  return sum(terms, start=jnp.zeros(()))


def _multiply_banded(values: Array, weights: Array, axis: int) -> Array:
  """Returns the same as a matrix product: 121 additions compile slowly."""
  radius, size = len(weights) // 2, values.shape[axis]
  row = jnp.arange(size)[:, None]
  column = jnp.clip(row + jnp.arange(-radius, radius + 1), 0, size - 1)
  band = jnp.zeros((size, size)).at[row, column].add(weights)
  values = jnp.moveaxis(values, axis, 0)
  values = jnp.tensordot(band, values, 1, precision="highest")
  return jnp.moveaxis(values, 0, axis)


def noise(deviation: Array | float) -> Transform:
  """Adds Gaussian noise to every pixel.

  Args:
    deviation: maximum standard deviation as a fraction of white, 0 to 1.
  """
  check_range("noise", deviation, 0, 1)

  def apply(key: Array, image: Array) -> Array:
    strength_key, pixels_key = jax.random.split(key)
    scale = uniform(strength_key, 0.0, deviation) * max_value(image)
    values = image.astype(jnp.float32)
    values = values + scale * jax.random.normal(pixels_key, image.shape)
    return cast_like(values, image)

  return apply


def cutout(pixels: Array | int) -> Transform:
  """Sets a square around a random pixel to 0 (arXiv:1708.04552).

  DeVries and Taylor 2017. The square may extend over the border.

  Args:
    pixels: side of the square.
  """
  check_range("cutout", pixels, 0, MAX_PIXELS, " pixels")

  def apply(key: Array, image: Array) -> Array:
    rows, columns = image.shape[:2]
    keys = jax.random.split(key)
    top = jax.random.randint(keys[0], (), 0, rows) - pixels // 2
    left = jax.random.randint(keys[1], (), 0, columns) - pixels // 2
    inside = rectangle(rows, columns, top, left, pixels, pixels)
    return jnp.where(inside[..., None], jnp.zeros_like(image), image)

  return apply


def erase(area: Array | float) -> Transform:
  """Fills a random rectangle with noise, with probability 1/2.

  Zhong et al. 2017, arXiv:1708.04896: aspect ratios of 0.3 to 3.3.

  Args:
    area: maximum fraction of the image, 0 to 1; the minimum is 0.02, or half
      of the maximum if that is less.
  """
  check_range("erase", area, 0, 1)

  def apply(key: Array, image: Array) -> Array:
    rows, columns = image.shape[:2]
    keys = jax.random.split(key, 6)
    fraction = uniform(keys[0], jnp.minimum(0.02, area / 2), area)
    ratio = jnp.exp(uniform(keys[1], math.log(0.3), math.log(1 / 0.3)))
    height = jnp.minimum(jnp.sqrt(fraction * ratio), 1.0) * rows
    width = jnp.minimum(jnp.sqrt(fraction / ratio), 1.0) * columns
    top = uniform(keys[2], 0.0, 1.0) * (rows - height)
    left = uniform(keys[3], 0.0, 1.0) * (columns - width)
    inside = rectangle(rows, columns, top, left, height, width)
    inside &= jax.random.bernoulli(keys[4])
    filling = max_value(image) * jax.random.uniform(keys[5], image.shape)
    return jnp.where(inside[..., None], cast_like(filling, image), image)

  return apply


def rectangle(rows: int, columns: int, top, left, height, width) -> Array:
  """Returns bool `[rows, columns]`, True inside of the rectangle."""
  row, column = jnp.arange(rows)[:, None], jnp.arange(columns)
  in_rows = (row >= top) & (row < top + height)
  return in_rows & (column >= left) & (column < left + width)

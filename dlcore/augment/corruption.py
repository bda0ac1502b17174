"""Augmentations that take something away: blur, noise, missing parts."""

import math

import jax
import jax.numpy as jnp

from dlcore.augment.pixels import check, like, uniform, white
from dlcore.typing import Array


def blur(sigma: float):
  """Smooths an image by a Gaussian of up to `sigma` pixels.

  Returns:
    `(key, image [Y, X, C]) -> image`, of the same shape, range and dtype.
  """
  check("blur", sigma, 0, 20, " pixels")
  reach = math.ceil(3 * sigma)
  offsets = jnp.arange(-reach, reach + 1)

  def apply(key: Array, image: Array) -> Array:
    width = uniform(key, 0.0, sigma) + 1e-3
    weights = jnp.exp(-0.5 * jnp.square(offsets / width))
    weights = weights / jnp.sum(weights)
    values = image.astype(jnp.float32)
    for axis in (0, 1):
      border = [(reach, reach) if axis == a else (0, 0) for a in range(3)]
      padded = jnp.pad(values, border, mode="edge")
      size = image.shape[axis]
      values = sum(
        weight * jax.lax.slice_in_dim(padded, start, start + size, axis=axis)
        for start, weight in enumerate(weights)
      )
    return like(values, image)

  return apply


def noise(deviation: float):
  """Adds Gaussian noise to every pixel.

  Args:
    deviation: the largest standard deviation, as a share of white.

  Returns:
    `(key, image [Y, X, C]) -> image`, of the same shape, range and dtype.
  """
  check("noise", deviation, 0, 1)

  def apply(key: Array, image: Array) -> Array:
    strength, pixels = jax.random.split(key)
    size = uniform(strength, 0.0, deviation) * white(image)
    values = image.astype(jnp.float32)
    return like(values + size * jax.random.normal(pixels, image.shape), image)

  return apply


def cutout(pixels: int):
  """Blackens a square around a random pixel (arXiv:1708.04552).

  DeVries and Taylor 2017. The square may reach over the border.

  Args:
    pixels: the side of the square.

  Returns:
    `(key, image [Y, X, C]) -> image`, of the same shape and dtype.
  """
  check("cutout", pixels, 0, math.inf, " pixels")

  def apply(key: Array, image: Array) -> Array:
    rows, columns = image.shape[:2]
    keys = jax.random.split(key)
    top = jax.random.randint(keys[0], (), 0, rows) - pixels // 2
    left = jax.random.randint(keys[1], (), 0, columns) - pixels // 2
    inside = rectangle(rows, columns, top, left, pixels, pixels)
    return jnp.where(inside[..., None], jnp.zeros_like(image), image)

  return apply


def erase(area: float):
  """Fills a random rectangle with noise, every other time on average.

  Zhong et al. 2017, arXiv:1708.04896: sides in a ratio of 0.3 to 3.3.

  Args:
    area: the largest share of the image; the least is 0.02 or half of it.

  Returns:
    `(key, image [Y, X, C]) -> image`, of the same shape, range and dtype.
  """
  check("erase", area, 0, 1)

  def apply(key: Array, image: Array) -> Array:
    rows, columns = image.shape[:2]
    keys = jax.random.split(key, 6)
    share = uniform(keys[0], min(0.02, area / 2), area)
    ratio = jnp.exp(uniform(keys[1], math.log(0.3), math.log(1 / 0.3)))
    height = jnp.minimum(jnp.sqrt(share * ratio), 1.0) * rows
    width = jnp.minimum(jnp.sqrt(share / ratio), 1.0) * columns
    top = uniform(keys[2], 0.0, 1.0) * (rows - height)
    left = uniform(keys[3], 0.0, 1.0) * (columns - width)
    inside = rectangle(rows, columns, top, left, height, width)
    inside &= jax.random.bernoulli(keys[4])
    filling = white(image) * jax.random.uniform(keys[5], image.shape)
    return jnp.where(inside[..., None], like(filling, image), image)

  return apply


def rectangle(rows: int, columns: int, top, left, height, width) -> Array:
  """Returns bool `[rows, columns]`, true inside of the rectangle."""
  row, column = jnp.arange(rows)[:, None], jnp.arange(columns)
  down = (row >= top) & (row < top + height)
  return down & (column >= left) & (column < left + width)

"""Augmentations that move pixels."""

import math

import jax
import jax.numpy as jnp

from dlcore.augment.pixels import (
  MAX_PIXELS,
  Transform,
  check_range,
  check_switch,
  is_static,
  uniform,
  warp,
)
from dlcore.errors import UserError
from dlcore.typing import Array


def shift(pixels: Array | int) -> Transform:
  """Moves an image by a random number of rows and columns, filling with 0.

  Args:
    pixels: maximum move in each direction, less than height and width.
  """
  return _random_window("shift", pixels, "constant")


def crop(pixels: Array | int) -> Transform:
  """Pads an image by reflection and crops it randomly to its own size.

  The usual augmentation of CIFAR-10, with reflection in place of zeros.

  Args:
    pixels: width of the padding, less than height and width.
  """
  return _random_window("crop", pixels, "reflect")


def _random_window(name: str, pixels: Array | int, mode: str) -> Transform:
  check_range(name, pixels, 0, MAX_PIXELS, " pixels")

  def apply(key: Array, image: Array) -> Array:
    # The padding must be static: a traced number gets the largest one.
    border = pixels if is_static(pixels) else min(image.shape[:2]) - 1
    if border >= min(image.shape[:2]):
      raise UserError(
        f"expected {name} to be less than the image's height and width",
        f"got {pixels} for images of {image.shape[0]}x{image.shape[1]}",
      )
    limit = jnp.asarray(pixels).astype(jnp.int32)
    start = jax.random.randint(key, (2,), 0, 2 * limit + 1) + border - limit
    padded = jnp.pad(
      image, ((border, border), (border, border), (0, 0)), mode=mode
    )
    return jax.lax.dynamic_slice(padded, (*start, 0), image.shape)

  return apply


def flip(switch: bool) -> Transform:
  """Mirrors an image left to right with probability 1/2."""
  check_switch("flip", switch)

  def apply(key: Array, image: Array) -> Array:
    return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)

  return apply


def resized_crop(area: Array | float) -> Transform:
  """Crops a random part and resizes it to the size of the image.

  Szegedy et al. 2015, arXiv:1409.4842: a fraction of `area` to 1 of the image
  with an aspect ratio of 3/4 to 4/3.

  Args:
    area: minimum fraction of the area, 0 to 1.
  """
  check_range("resized_crop", area, 0, 1)

  def apply(key: Array, image: Array) -> Array:
    keys = jax.random.split(key, 4)
    fraction = uniform(keys[0], area, 1.0)
    ratio = jnp.exp(uniform(keys[1], math.log(3 / 4), math.log(4 / 3)))
    height = jnp.minimum(jnp.sqrt(fraction / ratio), 1.0)
    width = jnp.minimum(jnp.sqrt(fraction * ratio), 1.0)
    rows, columns = image.shape[:2]
    down = uniform(keys[2], -0.5, 0.5) * (1 - height) * rows
    right = uniform(keys[3], -0.5, 0.5) * (1 - width) * columns
    return warp(image, _matrix([height, 0, down], [0, width, right]))

  return apply


def rotate(degrees: Array | float) -> Transform:
  """Rotates an image by a random angle of up to `degrees` either way."""
  check_range("rotate", degrees, 0, 180, " degrees")

  def apply(key: Array, image: Array) -> Array:
    angle = jnp.deg2rad(uniform(key, -degrees, degrees))
    return warp(image, rotation(angle))

  return apply


def scale(factor: Array | float) -> Transform:
  """Enlarges or reduces an image by a random factor of up to `1 + factor`."""
  check_range("scale", factor, 0, 9)

  def apply(key: Array, image: Array) -> Array:
    log = math.log if is_static(factor) else jnp.log
    limit = log(1 + factor)
    size = jnp.exp(uniform(key, -limit, limit))
    return warp(image, _matrix([size, 0, 0], [0, size, 0]))

  return apply


def shear(degrees: Array | float) -> Transform:
  """Shears an image horizontally by up to `degrees` either way."""
  check_range("shear", degrees, 0, 80, " degrees")

  def apply(key: Array, image: Array) -> Array:
    slope = jnp.tan(jnp.deg2rad(uniform(key, -degrees, degrees)))
    return warp(image, shearing(0.0, slope))

  return apply


def rotation(angle: Array) -> Array:
  """Returns the matrix of `warp` that rotates an image by `angle` radians."""
  sine, cosine = jnp.sin(angle), jnp.cos(angle)
  return _matrix([cosine, -sine, 0], [sine, cosine, 0])


def shearing(down: Array | float, right: Array | float) -> Array:
  """Returns the matrix that moves by `down` rows per column, `right` across."""
  return _matrix([1, down, 0], [right, 1, 0])


def translation(down: Array | float, right: Array | float) -> Array:
  """Returns the matrix that translates an image, in pixels."""
  return _matrix([1, 0, -down], [0, 1, -right])


def _matrix(first: list, second: list) -> Array:
  return jnp.array([first, second], jnp.float32)

"""Augmentations that move pixels."""

import math

import jax
import jax.numpy as jnp

from dlcore.augment.pixels import check, uniform, warp
from dlcore.errors import UserError
from dlcore.typing import Array


def shift(pixels: int):
  """Moves an image by up to `pixels` rows and columns; zeros come in.

  Args:
    pixels: largest move in each direction, drawn uniformly.

  Returns:
    `(key, image [Y, X, C]) -> image`, of the same shape and dtype.
  """
  return _moved("shift", pixels, "constant")


def crop(pixels: int):
  """Pads an image by its mirrored border and cuts the old size out of it.

  The "pad and crop" of CIFAR-10, with a mirror in place of black.

  Args:
    pixels: the width of the border.

  Returns:
    `(key, image [Y, X, C]) -> image`, of the same shape and dtype.
  """
  return _moved("crop", pixels, "reflect")


def _moved(name: str, pixels: int, mode: str):
  check(name, pixels, 0, math.inf, " pixels")

  def apply(key: Array, image: Array) -> Array:
    if pixels >= min(image.shape[:2]):
      raise UserError(
        f"expected data.augment.{name} of less than the image has pixels",
        f"got {pixels} for images of {image.shape[0]}x{image.shape[1]}",
      )
    border = ((pixels, pixels), (pixels, pixels), (0, 0))
    top, left = jax.random.randint(key, (2,), 0, 2 * pixels + 1)
    padded = jnp.pad(image, border, mode=mode)
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


def resized_crop(area: float):
  """Cuts out a random part and stretches it to the size of the image.

  Szegedy et al. 2015, arXiv:1409.4842: the part has `area` to 1 of the image
  and sides in a ratio of 3/4 to 4/3.

  Args:
    area: the least share of the area, 0 to 1.

  Returns:
    `(key, image [Y, X, C]) -> image`, of the same shape and dtype.
  """
  check("resized_crop", area, 0, 1)

  def apply(key: Array, image: Array) -> Array:
    keys = jax.random.split(key, 4)
    share = uniform(keys[0], area, 1.0)
    ratio = jnp.exp(uniform(keys[1], math.log(3 / 4), math.log(4 / 3)))
    height = jnp.minimum(jnp.sqrt(share / ratio), 1.0)
    width = jnp.minimum(jnp.sqrt(share * ratio), 1.0)
    rows, columns = image.shape[:2]
    down = uniform(keys[2], -0.5, 0.5) * (1 - height) * rows
    right = uniform(keys[3], -0.5, 0.5) * (1 - width) * columns
    return warp(image, _matrix([height, 0, down], [0, width, right]))

  return apply


def rotate(degrees: float):
  """Turns an image by up to `degrees` to either side.

  Returns:
    `(key, image [Y, X, C]) -> image`, of the same shape and dtype.
  """
  check("rotate", degrees, 0, 180, " degrees")

  def apply(key: Array, image: Array) -> Array:
    angle = jnp.deg2rad(uniform(key, -degrees, degrees))
    return warp(image, rotation(angle))

  return apply


def scale(factor: float):
  """Makes an image larger or smaller by a factor of up to `1 + factor`.

  Returns:
    `(key, image [Y, X, C]) -> image`, of the same shape and dtype.
  """
  check("scale", factor, 0, 9)

  def apply(key: Array, image: Array) -> Array:
    most = math.log(1 + factor)
    size = jnp.exp(uniform(key, -most, most))
    return warp(image, _matrix([size, 0, 0], [0, size, 0]))

  return apply


def shear(degrees: float):
  """Slants the columns of an image by up to `degrees` to either side.

  Returns:
    `(key, image [Y, X, C]) -> image`, of the same shape and dtype.
  """
  check("shear", degrees, 0, 80, " degrees")

  def apply(key: Array, image: Array) -> Array:
    slope = jnp.tan(jnp.deg2rad(uniform(key, -degrees, degrees)))
    return warp(image, slant(0.0, slope))

  return apply


def rotation(angle: Array) -> Array:
  """Returns the matrix of `warp` that turns an image by `angle` radians."""
  sine, cosine = jnp.sin(angle), jnp.cos(angle)
  return _matrix([cosine, -sine, 0], [sine, cosine, 0])


def slant(down: Array | float, right: Array | float) -> Array:
  """Returns the matrix that moves rows per column, and columns per row."""
  return _matrix([1, down, 0], [right, 1, 0])


def translation(down: Array | float, right: Array | float) -> Array:
  """Returns the matrix that moves an image, in pixels."""
  return _matrix([1, 0, -down], [0, 1, -right])


def _matrix(first: list, second: list) -> Array:
  return jnp.array([first, second], jnp.float32)

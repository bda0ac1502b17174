"""Policies that sample operations: RandAugment, TrivialAugment.

The operations are those of both papers. Their strength is continuous, 0 to 1,
in place of the 10 or 30 levels of the papers. Each sampled operation costs one
warp, shared by the geometric ones, and one `switch` over the others.
"""

import jax
import jax.numpy as jnp

from dlcore.augment import color
from dlcore.augment.geometry import rotation, shearing, translation
from dlcore.augment.pixels import (
  Transform,
  cast_like,
  check_range,
  check_switch,
  max_value,
  warp,
)
from dlcore.typing import Array

GEOMETRIC = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
"""The affine operations, each with a random sign."""


def randaugment(magnitude: Array | float) -> Transform:
  """Applies two random operations of the same strength.

  Cubuk et al. 2019, arXiv:1909.13719, with N = 2.

  Args:
    magnitude: the strength M of all operations, 0 to 10.
  """
  check_range("randaugment", magnitude, 0, 10)

  def apply(key: Array, image: Array) -> Array:
    strength = jnp.asarray(magnitude / 10, jnp.float32)
    for operation_key in jax.random.split(key):
      image = _apply_random(operation_key, image, strength, wide=False)
    return image

  return apply


def trivialaugment(switch: bool) -> Transform:
  """Applies one random operation of a random strength.

  Müller and Hutter 2021, arXiv:2103.10158, with its wide ranges.
  """
  check_switch("trivialaugment", switch)

  def apply(key: Array, image: Array) -> Array:
    strength_key, operation_key = jax.random.split(key)
    strength = jax.random.uniform(strength_key)
    return _apply_random(operation_key, image, strength, wide=True)

  return apply


def _apply_random(
  key: Array, image: Array, strength: Array, *, wide: bool
) -> Array:
  """Applies one operation, sampled uniformly."""
  choice_key, sign_key = jax.random.split(key)
  tonal = tonal_operations(image, wide)
  number = jax.random.randint(choice_key, (), 0, len(GEOMETRIC) + len(tonal))
  sign = jnp.where(jax.random.bernoulli(sign_key), 1.0, -1.0)
  signed = sign * strength
  image = warp(image, geometric_matrix(number, signed, wide))
  values = image.astype(jnp.float32) / max_value(image)
  tonal_number = jnp.maximum(number - len(GEOMETRIC), 0)
  values = jax.lax.switch(tonal_number, tonal, values, strength, signed)
  values = cast_like(values * max_value(image), image)
  return jnp.where(number < len(GEOMETRIC), image, values)


def geometric_matrix(number: Array, signed: Array, wide: bool) -> Array:
  """Returns the matrix of `warp` for an operation.

  Args:
    number: index in `GEOMETRIC`; a larger one gives the identity.
    signed: strength, -1 to 1.
    wide: whether to use the ranges of TrivialAugment.
  """
  angle = jnp.deg2rad((135.0 if wide else 30.0) * signed)
  slope = (0.99 if wide else 0.3) * signed
  pixels = (32.0 if wide else 10.0) * signed
  matrices = jnp.stack(
    [
      rotation(angle),
      shearing(0.0, slope),
      shearing(slope, 0.0),
      translation(0.0, pixels),
      translation(pixels, 0.0),
      translation(0.0, 0.0),
    ]
  )
  return matrices[jnp.minimum(number, len(GEOMETRIC))]


def tonal_operations(image: Array, wide: bool) -> list:
  """Returns the operations that change values and move no pixels.

  Args:
    image: `[Y, X, C]`; only three channels have an operation on color.
    wide: whether to use the ranges of TrivialAugment.

  Returns:
    functions `(values [Y, X, C] in 0 to 1, strength, signed) -> values`:
    identity, brightness, contrast, sharpness, solarize, posterize,
    autocontrast, equalize and, for three channels, color.
  """
  limit = 0.99 if wide else 0.9
  bits = 6 if wide else 4

  def blended(other):
    return lambda values, strength, signed: color.blend(
      values, other(values), 1 + limit * signed
    )

  def identity(values, strength, signed):
    del strength, signed
    return values

  def solarize(values, strength, signed):
    del signed
    return jnp.where(values >= 1 - strength, 1 - values, values)

  def posterize(values, strength, signed):
    del signed
    levels = 2.0 ** (8 - jnp.round(bits * strength))
    return jnp.floor(values * 255 / 256 * levels) / levels * 256 / 255

  def autocontrast(values, strength, signed):
    del strength, signed
    low, high = values.min((0, 1)), values.max((0, 1))
    span = high - low
    stretched = (values - low) / jnp.where(span > 0, span, 1.0)
    return jnp.where(span > 0, stretched, values)

  def equalize(values, strength, signed):
    del strength, signed
    return jax.vmap(_equalize, -1, -1)(values)

  operations = [
    identity,
    blended(color.black),
    blended(color.mean_gray),
    blended(_smooth),
    solarize,
    posterize,
    autocontrast,
    equalize,
  ]
  color_operations = [blended(color.gray)] if image.shape[-1] == 3 else []
  return [*operations, *color_operations]


def _smooth(values: Array) -> Array:
  """Returns the mean over 3x3 pixels, with weight 5 for the central one."""
  padded = jnp.pad(values, ((1, 1), (1, 1), (0, 0)), mode="edge")
  rows, columns = values.shape[:2]
  neighbors = sum(
    padded[down : down + rows, right : right + columns]
    for down in range(3)
    for right in range(3)
  )
  return (neighbors + 4 * values) / 13


def _equalize(values: Array) -> Array:
  """Equalizes the histogram of one channel `[Y, X]`."""
  flat = values.reshape(-1)
  rank = jnp.searchsorted(jnp.sort(flat), flat, side="right")
  lowest = jnp.min(rank)
  span = flat.size - lowest
  equalized = (rank - lowest) / jnp.maximum(span, 1)
  # A uniform image is unchanged.
  return jnp.where(span > 0, equalized, flat).reshape(values.shape)

"""Policies that draw operations from a table: RandAugment, TrivialAugment.

The operations are those of both papers. Their strength goes from 0 to 1: the
10 or 30 steps of the papers, without steps. One operation of an image is one
warp and one `switch` over the others.
"""

import jax
import jax.numpy as jnp

from dlcore.augment import color
from dlcore.augment.geometry import rotation, slant, translation
from dlcore.augment.pixels import check, like, warp, white
from dlcore.typing import Array

MOVES = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
"""The operations that are a matrix, all of them with a random sign."""


def randaugment(magnitude: float):
  """Applies two random operations of the same strength.

  Cubuk et al. 2019, arXiv:1909.13719, with N = 2.

  Args:
    magnitude: the strength M of all operations, 0 to 10.

  Returns:
    `(key, image [Y, X, C]) -> image`, of the same shape, range and dtype.
  """
  check("randaugment", magnitude, 0, 10)

  def apply(key: Array, image: Array) -> Array:
    for one in jax.random.split(key):
      image = _operate(one, image, jnp.float32(magnitude / 10), wide=False)
    return image

  return apply


def trivialaugment(switch: bool):
  """Applies one random operation of a random strength.

  Müller and Hutter 2021, arXiv:2103.10158, with its wide ranges.

  Returns:
    `(key, image [Y, X, C]) -> image`, of the same shape, range and dtype.
  """
  del switch

  def apply(key: Array, image: Array) -> Array:
    strength, operation = jax.random.split(key)
    return _operate(operation, image, jax.random.uniform(strength), wide=True)

  return apply


def _operate(key: Array, image: Array, strength: Array, *, wide: bool) -> Array:
  """Applies one operation, each with the same chance."""
  choice, sign = jax.random.split(key)
  tones = _tones(image, wide)
  number = jax.random.randint(choice, (), 0, len(MOVES) + len(tones))
  sign = jnp.where(jax.random.bernoulli(sign), 1.0, -1.0)
  signed = sign * strength
  image = warp(image, _move(number, signed, wide))
  tone = jnp.maximum(number - len(MOVES), 0)
  values = image.astype(jnp.float32) / white(image)
  changed = jax.lax.switch(tone, tones, values, strength, signed)
  changed = like(changed * white(image), image)
  return jnp.where(number < len(MOVES), image, changed)


def _move(number: Array, signed: Array, wide: bool) -> Array:
  """Returns the matrix of operation `number`; of the others it is 1."""
  angle = jnp.deg2rad((135.0 if wide else 30.0) * signed)
  slope = (0.99 if wide else 0.3) * signed
  pixels = (32.0 if wide else 10.0) * signed
  matrices = jnp.stack(
    [
      rotation(angle),
      slant(0.0, slope),
      slant(slope, 0.0),
      translation(0.0, pixels),
      translation(pixels, 0.0),
      translation(0.0, 0.0),
    ]
  )
  return matrices[jnp.minimum(number, len(MOVES))]


def _tones(image: Array, wide: bool) -> list:
  """Returns the operations on values, `(values 0 to 1, strength, signed)`."""
  reach = 0.99 if wide else 0.9
  bits = 6 if wide else 4

  def blended(other):
    return lambda values, strength, signed: color.blend(
      values, other(values), 1 + reach * signed
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
    least, most = values.min((0, 1)), values.max((0, 1))
    span = most - least
    stretched = (values - least) / jnp.where(span > 0, span, 1.0)
    return jnp.where(span > 0, stretched, values)

  def equalize(values, strength, signed):
    del strength, signed
    return jax.vmap(_equalized, -1, -1)(values)

  tones = [
    identity,
    blended(color.black),
    blended(color.mean_grey),
    blended(_smoothed),
    solarize,
    posterize,
    autocontrast,
    equalize,
  ]
  return [*tones, blended(color.grey)] if image.shape[-1] == 3 else tones


def _smoothed(values: Array) -> Array:
  """Returns the mean over 3x3 pixels, the middle one weighing 5."""
  padded = jnp.pad(values, ((1, 1), (1, 1), (0, 0)), mode="edge")
  rows, columns = values.shape[:2]
  neighbours = sum(
    padded[down : down + rows, right : right + columns]
    for down in range(3)
    for right in range(3)
  )
  return (neighbours + 4 * values) / 13


def _equalized(values: Array) -> Array:
  """Spreads the values `[Y, X]` so that all greys are about as frequent."""
  flat = values.reshape(-1)
  until = jnp.searchsorted(jnp.sort(flat), flat, side="right")
  darkest = jnp.min(until)
  rest = flat.size - darkest
  spread = (until - darkest) / jnp.maximum(rest, 1)
  # An image of a single grey stays as it is.
  return jnp.where(rest > 0, spread, flat).reshape(values.shape)

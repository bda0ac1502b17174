"""Augmentations that mix two images and their labels.

The examples at the places 0 and 1 of a batch are partners, 2 and 3, and so
on: a batch is drawn at random, so partners are, and no device needs to see
another's images. Both partners take the same part in each other.
"""

import jax
import jax.numpy as jnp

from dlcore.augment.corruption import rectangle
from dlcore.augment.pixels import check, like
from dlcore.typing import Array


def mixup(alpha: float):
  """Fades an image into its partner (Zhang et al. 2017, arXiv:1710.09412).

  Args:
    alpha: the share is drawn from Beta(alpha, alpha).

  Returns:
    `(key, image [Y, X, C], partner) -> (image, share)`; `share` float32 is
    that of the first image in the new one.
  """
  check("mixup", alpha, 0, 100)

  def apply(key: Array, image: Array, partner: Array) -> tuple[Array, Array]:
    share = jax.random.beta(key, alpha, alpha)
    values = [x.astype(jnp.float32) for x in (image, partner)]
    mixed = share * values[0] + (1 - share) * values[1]
    return like(mixed, image), share

  return apply


def cutmix(alpha: float):
  """Pastes a rectangle of the partner (Yun et al. 2019, arXiv:1905.04899).

  Args:
    alpha: the share is drawn from Beta(alpha, alpha).

  Returns:
    `(key, image [Y, X, C], partner) -> (image, share)`; `share` float32 is
    the first image's share of the pixels.
  """
  check("cutmix", alpha, 0, 100)

  def apply(key: Array, image: Array, partner: Array) -> tuple[Array, Array]:
    keys = jax.random.split(key, 3)
    side = jnp.sqrt(1 - jax.random.beta(keys[0], alpha, alpha))
    rows, columns = image.shape[:2]
    height, width = side * rows, side * columns
    top = jax.random.uniform(keys[1]) * rows - height / 2
    left = jax.random.uniform(keys[2]) * columns - width / 2
    inside = rectangle(rows, columns, top, left, height, width)
    mixed = jnp.where(inside[..., None], partner, image)
    return mixed, 1 - jnp.mean(inside, dtype=jnp.float32)

  return apply


MIXTURES = {
  "mixup": (0.0, mixup),
  "cutmix": (0.0, cutmix),
}
"""As `AUGMENTATIONS`, `(value) -> (key, image, partner) -> (image, share)`."""


def partners(rows: Array) -> Array:
  """Swaps the places 0 and 1 of `[B, ...]`, 2 and 3, ...; B is even."""
  pairs = rows.reshape(-1, 2, *rows.shape[1:])
  return pairs[:, ::-1].reshape(rows.shape)

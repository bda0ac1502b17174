"""Augmentations that mix two images and their labels.

Slots 0 and 1 of a batch are partners, as are 2 and 3, and so on. Since batches
are random, partners are too, and a device needs no images of other devices.
The mixture is symmetric: both partners use the same random numbers.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dlcore.augment.corruption import rectangle
from dlcore.augment.pixels import cast_like, check_range
from dlcore.typing import Array

Mixture = Callable[[Array, Array, Array], tuple[Array, Array]]
"""`(key, image [Y, X, C], partner) -> (image, share)`.

The share, a float32 scalar, is the weight of `image` in the mixture, for
cutmix the fraction of its pixels that remain.
"""


def mixup(alpha: Array | float) -> Mixture:
  """Interpolates an image and its partner (Zhang et al. 2017).

  arXiv:1710.09412.

  Args:
    alpha: the weight of the image is sampled from Beta(alpha, alpha); it is 1
      if alpha is 0.
  """
  check_range("mixup", alpha, 0, 100)

  def apply(key: Array, image: Array, partner: Array) -> tuple[Array, Array]:
    share = _sample_share(key, alpha)
    values = [x.astype(jnp.float32) for x in (image, partner)]
    mixed = share * values[0] + (1 - share) * values[1]
    return cast_like(mixed, image), share

  return apply


def cutmix(alpha: Array | float) -> Mixture:
  """Pastes a rectangle of the partner (Yun et al. 2019, arXiv:1905.04899).

  Args:
    alpha: the fraction that remains is sampled from Beta(alpha, alpha); it is
      1 if alpha is 0.
  """
  check_range("cutmix", alpha, 0, 100)

  def apply(key: Array, image: Array, partner: Array) -> tuple[Array, Array]:
    keys = jax.random.split(key, 3)
    side = jnp.sqrt(1 - _sample_share(keys[0], alpha))
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
"""As `AUGMENTATIONS`: name to (off value, `(value) -> Mixture`)."""


def swap_partners(rows: Array) -> Array:
  """Swaps the rows 0 and 1 of `[B, ...]`, 2 and 3, ...; B is even."""
  pairs = rows.reshape(-1, 2, *rows.shape[1:])
  return pairs[:, ::-1].reshape(rows.shape)


def _sample_share(key: Array, alpha: Array | float) -> Array:
  """Returns a sample of Beta(alpha, alpha), or 1 if alpha is 0."""
  positive = jnp.where(alpha > 0, alpha, 1.0)
  sample = jax.random.beta(key, positive, positive)
  return jnp.where(alpha > 0, sample, 1.0)

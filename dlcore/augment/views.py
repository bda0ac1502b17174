"""Views of images for test-time augmentation (Krizhevsky et al. 2012)."""

import jax
import jax.numpy as jnp

from dlcore.typing import Array


def flip(images: Array) -> list[Array]:
  """Returns the images and their mirror images, each `[B, Y, X, C]`."""
  return [images, images[:, :, ::-1]]


def shifts(images: Array) -> list[Array]:
  """Returns the images and their shifts by a pixel in four directions."""
  padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
  rows, columns = images.shape[1:3]
  return [
    padded[:, down : down + rows, right : right + columns]
    for down, right in ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))
  ]


def crops(images: Array) -> list[Array]:
  """Returns the center and corner crops of 7/8 of the side, resized."""
  rows, columns = images.shape[1:3]
  height, width = max(rows * 7 // 8, 1), max(columns * 7 // 8, 1)
  down, right = rows - height, columns - width
  corners = ((0, 0), (0, right), (down, 0), (down, right))
  return [
    jax.image.resize(
      images[:, top : top + height, left : left + width],
      images.shape,
      "linear",
    )
    for top, left in ((down // 2, right // 2), *corners)
  ]


VIEWS = {"flip": flip, "shifts": shifts, "crops": crops}
"""Name to `(images float [B, Y, X, C]) -> list of images, same shape`."""

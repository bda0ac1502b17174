"""Moves and warps, against SciPy and by their direction."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from dlcore import augment
from dlcore.augment import pixels
from dlcore.augment.geometry import rotation, shearing, translation


@pytest.mark.parametrize("make", [augment.shift, augment.crop])
def test_moves_reach_every_position_within_the_limit(augmented, make):
  image = np.zeros((9, 9, 1), np.uint8)
  image[4, 4] = 255
  moved = augmented(make(2), image)
  positions = {tuple(np.argwhere(moved[i, ..., 0])[0]) for i in range(300)}
  assert positions == {(y, x) for y in range(2, 7) for x in range(2, 7)}


def test_crop_reflects_the_border_and_shift_fills_with_zeros(augmented):
  image = jnp.full((6, 6, 1), 9, jnp.uint8)
  assert (augmented(augment.crop(3), image) == 9).all()
  assert (augmented(augment.shift(3), image) == 0).any()


def test_flip_mirrors_about_half_of_the_images(augmented, photos):
  image = photos[0]
  flipped = augmented(augment.flip(True), image)
  mirrored = (flipped == image[:, ::-1]).all((1, 2, 3))
  assert ((flipped == image).all((1, 2, 3)) | mirrored).all()
  # Four standard deviations of a fair coin tossed 300 times are 35.
  assert abs(int(mirrored.sum()) - 150) < 35


@pytest.mark.parametrize(
  "matrix",
  [
    rotation(jnp.float32(0.7)),
    shearing(0.2, 0.0),
    shearing(0.0, -0.3),
    translation(1.25, -0.5),
  ],
)
def test_warp_equals_scipys_affine_transform(matrix):
  image = np.random.default_rng(1).random((11, 8, 2)).astype(np.float32)
  center = np.array([5.0, 3.5])
  linear, offset = np.array(matrix[:, :2]), np.array(matrix[:, 2])
  expected = np.stack(
    [
      ndimage.affine_transform(
        np.pad(image[..., channel], 3),
        linear,
        offset + (center + 3) - linear @ (center + 3),
        order=1,
      )[3:-3, 3:-3]
      for channel in range(2)
    ],
    -1,
  )
  np.testing.assert_allclose(pixels.warp(image, matrix), expected, atol=1e-5)


def test_warps_have_the_direction_of_their_names():
  image = np.zeros((9, 9, 1), np.uint8)
  image[4, 7] = 200
  turned = pixels.warp(jnp.asarray(image), rotation(jnp.pi / 2))
  assert np.argwhere(turned[..., 0]).tolist() in ([[1, 4]], [[7, 4]])
  moved = pixels.warp(jnp.asarray(image), translation(2, -3))
  assert np.argwhere(moved[..., 0]).tolist() == [[6, 4]]


def test_scale_enlarges_and_reduces_and_resized_crop_only_enlarges(augmented):
  square = np.zeros((21, 21, 1), np.float32)
  square[8:13, 8:13] = 1

  def areas(function):
    return augmented(function, square).sum((1, 2, 3)) / 25

  scaled = areas(augment.scale(0.5))
  assert 0.35 < scaled.min() < 0.6
  assert 1.8 < scaled.max() < 2.6
  # At least half of the area remains, and the square may be cut off.
  cropped = areas(augment.resized_crop(0.5))
  assert cropped.max() == pytest.approx(2.0, abs=0.3)

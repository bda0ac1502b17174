"""Brightness, contrast, saturation, blur, noise and masked regions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from dlcore import augment
from dlcore.augment import color

KEY = jax.random.key(0)


@pytest.mark.parametrize("make", [augment.brightness, augment.contrast])
def test_strength_zero_is_the_identity_and_one_can_remove_everything(
  augmented, compiled, photos, make
):
  image = jnp.asarray(photos[0])
  np.testing.assert_array_equal(compiled(make(0.0))(KEY, image), image)
  values = augmented(make(1.0), image)
  spans = values.max((1, 2, 3)) - values.min((1, 2, 3))
  assert spans.min() < 10


def test_saturation_does_not_change_gray_images(photos):
  gray = jnp.repeat(jnp.asarray(photos[0, ..., :1]), 3, -1)
  np.testing.assert_allclose(augment.saturation(0.9)(KEY, gray), gray, atol=1)


def test_gray_is_that_of_pillow(photos):
  expected = [Image.fromarray(photo).convert("L") for photo in photos]
  for photo, gray in zip(photos, expected, strict=True):
    actual = color.gray(jnp.asarray(photo, jnp.float32))
    assert actual.shape == photo.shape
    for channel in range(3):
      np.testing.assert_allclose(actual[..., channel], gray, atol=0.51)


def test_blend_interpolates_and_extrapolates():
  image, other = jnp.float32(0.6), jnp.float32(0.2)
  for factor, expected in ((0, 0.2), (1, 0.6), (1.5, 0.8)):
    assert color.blend(image, other, factor) == pytest.approx(expected)


def test_blur_equals_scipys_gaussian_filter(augmented):
  image = np.zeros((15, 15, 1), np.float32)
  image[7, 7] = 1
  compared = 0
  for blurred in np.asarray(augmented(augment.blur(1.5), image, 40))[..., 0]:
    assert blurred.sum() == pytest.approx(1, abs=1e-4)
    sigma = np.sqrt((blurred.sum(0) * np.square(np.arange(15) - 7)).sum())
    assert sigma <= 1.5
    if sigma > 0.7:
      compared += 1
      expected = ndimage.gaussian_filter(image[..., 0], sigma, truncate=6)
      np.testing.assert_allclose(blurred, expected, atol=0.01)
  assert compared > 10


def test_the_kernel_of_blur_ends_at_three_times_the_maximum(augmented):
  image = np.zeros((15, 15, 1), np.float32)
  image[7, 7] = 1
  distance = np.abs(np.arange(15) - 7)
  compared = 0
  for blurred in np.asarray(augmented(augment.blur(1.5), image, 20))[..., 0]:
    row = blurred.sum(0, dtype=np.float64)
    if row[8] > 0.1:  # The ratio of two neighbors gives the deviation.
      compared += 1
      variance = 0.5 / np.log(row[7] / row[8])
      expected = np.exp(-0.5 * distance**2 / variance) * (distance <= 5)
      expected /= expected.sum()
      np.testing.assert_allclose(
        blurred, np.outer(expected, expected), rtol=1e-3, atol=1e-9
      )
  assert compared > 5


def test_noise_has_at_most_its_standard_deviation(augmented):
  image = jnp.full((64, 64, 1), 128, jnp.uint8)
  noisy = augmented(augment.noise(0.1), image, 60)
  deviations = np.asarray(noisy, float).std((1, 2, 3)) / 255
  assert deviations.max() < 0.105
  assert deviations.min() < 0.01


def test_cutout_and_erase_cover_the_area_of_their_setting(augmented):
  image = jnp.full((20, 20, 1), 200, jnp.uint8)
  black = (augmented(augment.cutout(6), image) == 0).sum((1, 2, 3))
  assert black.max() == 36
  assert black.min() >= 9  # A square around a corner's pixel.
  changed = (augmented(augment.erase(0.25), image) != image).mean((1, 2, 3))
  # A rectangle covers every pixel that it touches: up to a row and a column.
  assert 0.15 < changed.max() <= 0.25 * 1.25 + 0.02
  assert abs(float((changed > 0).mean()) - 0.5) < 0.12

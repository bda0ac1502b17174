"""Operations of RandAugment against Pillow, and views of images."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageOps

from dlcore import augment
from dlcore.augment import pixels, policies
from dlcore.augment.geometry import translation

TONAL = (
  "identity",
  "brightness",
  "contrast",
  "sharpness",
  "solarize",
  "posterize",
  "autocontrast",
  "equalize",
  "color",
)


def tonal(image, name, strength):
  image = jnp.asarray(image)
  function = policies.tonal_operations(image, False)[TONAL.index(name)]
  values = image.astype(jnp.float32) / 255
  changed = function(values, jnp.float32(strength), jnp.float32(strength))
  return np.asarray(pixels.cast_like(changed * 255, image))


@pytest.mark.parametrize(
  ("name", "strength", "reference"),
  [
    ("identity", 0.5, lambda image: image),
    ("solarize", 0.5, lambda image: ImageOps.solarize(image, 128)),
    ("posterize", 0.5, lambda image: ImageOps.posterize(image, 6)),
    ("autocontrast", 0.5, ImageOps.autocontrast),
  ],
)
def test_tonal_operations_equal_pillows(name, strength, reference):
  photo = np.random.default_rng(3).integers(30, 220, (16, 16, 3), np.uint8)
  expected = np.asarray(reference(Image.fromarray(photo)), int)
  assert np.abs(tonal(photo, name, strength) - expected).max() <= 3


def test_equalize_makes_grays_equally_frequent_and_keeps_their_order():
  photo = (np.random.default_rng(3).random((32, 32, 1)) ** 3 * 120).astype(
    np.uint8
  )
  out = tonal(photo, "equalize", 0.5)
  order = np.argsort(photo.ravel(), kind="stable")
  assert (np.diff(out.ravel()[order].astype(int)) >= 0).all()
  assert out.max() == 255
  bright = np.histogram(out, 4, (0, 256))[0][1:] / out.size
  np.testing.assert_allclose(bright, 0.25, atol=0.08)
  flat = np.full((5, 5, 1), 77, np.uint8)
  np.testing.assert_array_equal(tonal(flat, "equalize", 0.5), flat)
  np.testing.assert_array_equal(tonal(flat, "autocontrast", 0.5), flat)


def test_trivialaugment_samples_every_operation(augmented):
  image = np.random.default_rng(3).integers(40, 200, (12, 12, 3), np.uint8)
  out = np.asarray(augmented(augment.trivialaugment(True), image))
  different = {picture.tobytes() for picture in out}
  # 3 of 14 operations ignore the strength: about a fifth of images repeat.
  assert 150 < len(different) < 290


def test_geometric_operations_of_strength_zero_are_the_identity():
  for number in range(len(policies.GEOMETRIC) + 1):
    matrix = policies.geometric_matrix(
      jnp.asarray(number), jnp.float32(0), wide=True
    )
    np.testing.assert_allclose(matrix, translation(0, 0), atol=1e-7)


def test_views_contain_the_image_and_keep_its_shape(photos):
  images = jnp.asarray(photos / 255, jnp.float32)
  views = {name: view(images) for name, view in augment.VIEWS.items()}
  for name, view in views.items():
    assert all(image.shape == images.shape for image in view), name
  assert len(views["crops"]) == 5
  np.testing.assert_array_equal(views["shifts"][0], images)
  np.testing.assert_array_equal(views["flip"][1], images[:, :, ::-1])

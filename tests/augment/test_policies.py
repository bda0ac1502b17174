"""Operations of RandAugment against Pillow, and views of images."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

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


def tonal(image, name, strength, *, sign=1, wide=False):
  image = jnp.asarray(image)
  function = policies.tonal_operations(image, wide)[TONAL.index(name)]
  values = image.astype(jnp.float32) / 255
  strength = jnp.float32(strength)
  changed = function(values, strength, sign * strength)
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


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(
  ("name", "enhancer"),
  [
    ("brightness", ImageEnhance.Brightness),
    ("contrast", ImageEnhance.Contrast),
    ("color", ImageEnhance.Color),
    ("sharpness", ImageEnhance.Sharpness),
  ],
)
def test_blends_of_both_ranges_equal_pillows(name, enhancer, wide, sign):
  photo = np.random.default_rng(3).integers(70, 130, (16, 16, 3), np.uint8)
  factor = 1 + sign * (0.99 if wide else 0.9)
  expected = np.asarray(enhancer(Image.fromarray(photo)).enhance(factor), int)
  actual = tonal(photo, name, 1.0, sign=sign, wide=wide)
  # Pillow does not smooth the border.
  inside = (slice(1, -1), slice(1, -1))
  assert np.abs(actual - expected)[inside].max() <= 2


@pytest.mark.parametrize("bits", range(2, 9))
def test_posterize_equals_pillows_for_every_value(bits):
  values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
  expected = np.asarray(ImageOps.posterize(Image.fromarray(values), bits))
  actual = tonal(values, "posterize", (8 - bits) / 6, wide=True)
  np.testing.assert_array_equal(actual, expected)


def test_the_wide_range_keeps_two_bits(photos):
  expected = ImageOps.posterize(Image.fromarray(photos[0]), 2)
  actual = tonal(photos[0], "posterize", 1.0, wide=True).astype(int)
  assert np.abs(actual - np.asarray(expected, int)).max() <= 1


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
  ("wide", "degrees", "slope", "distance"),
  [(False, 30, 0.3, 10), (True, 135, 0.99, 32)],
)
def test_geometric_operations_reach_the_limits_of_the_papers(
  wide, degrees, slope, distance, sign
):
  sine, cosine = (f(np.deg2rad(sign * degrees)) for f in (np.sin, np.cos))
  expected = {
    "rotate": [[cosine, -sine, 0], [sine, cosine, 0]],
    "shear_x": [[1, 0, 0], [sign * slope, 1, 0]],
    "shear_y": [[1, sign * slope, 0], [0, 1, 0]],
    "translate_x": [[1, 0, 0], [0, 1, -sign * distance]],
    "translate_y": [[1, 0, -sign * distance], [0, 1, 0]],
  }
  for number, name in enumerate(policies.GEOMETRIC):
    matrix = policies.geometric_matrix(
      jnp.asarray(number), jnp.float32(sign), wide
    )
    np.testing.assert_allclose(matrix, expected[name], atol=1e-6, err_msg=name)


@pytest.mark.fast_cases("trivialaugment")
@pytest.mark.parametrize(
  ("function", "limit", "share"),
  [
    (augment.trivialaugment(True), 32, 2 / 13),
    (augment.randaugment(5.0), 10, 1 - (11 / 13) ** 2),
  ],
  ids=["trivialaugment", "randaugment"],
)
def test_operations_are_sampled_evenly_and_in_both_directions(
  augmented, function, limit, share
):
  """Of a black image with a gray center, only translations move the center."""
  size = 2 * limit + 3
  image = np.zeros((size, size, 1), np.uint8)
  image[size // 2 - 1 : size // 2 + 2, size // 2 - 1 : size // 2 + 2] = 100
  out = np.asarray(augmented(function, image), float)[..., 0]
  out -= out.min((1, 2), keepdims=True)
  position = np.arange(size) - size // 2
  total = np.maximum(out.sum((1, 2)), 1e-9)
  down = (out.sum(2) * position).sum(1) / total
  right = (out.sum(1) * position).sum(1) / total
  for moved in (down, right):
    assert -limit - 0.5 <= moved.min() < -0.4 * limit
    assert 0.4 * limit < moved.max() <= limit + 0.5
  moved = (np.abs(down) > 0.5) | (np.abs(right) > 0.5)
  assert moved.mean() == pytest.approx(share, abs=0.08)


@pytest.mark.slow
def test_only_rotations_move_an_object_along_both_axes(augmented):
  image = np.zeros((101, 101, 1), np.uint8)
  image[49:52, 69:72] = 100
  out = np.asarray(augmented(augment.trivialaugment(True), image), float)
  out -= out.min((1, 2), keepdims=True)
  position = np.arange(101) - 50
  total = np.maximum(out.sum((1, 2, 3)), 1e-9)
  down = (out.sum((2, 3)) * position).sum(1) / total
  right = (out.sum((1, 3)) * position).sum(1) / total
  moved = (np.abs(down) > 0.5) & (np.abs(right - 20) > 0.5) & (total > 1)
  # Three standard deviations of the share among 300 images.
  assert moved.mean() == pytest.approx(1 / 13, abs=0.05)


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


def test_shifted_views_move_by_a_pixel_in_each_direction(photos):
  images = jnp.asarray(photos / 255, jnp.float32)
  moves = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
  expected = [images[:, 1 + y : 8 + y, 1 + x : 6 + x] for y, x in moves]
  for view, inside in zip(
    augment.VIEWS["shifts"](images), expected, strict=True
  ):
    np.testing.assert_array_equal(view[:, 1:-1, 1:-1], inside)


def test_cropped_views_are_the_center_and_the_corners():
  rows, columns = jnp.meshgrid(
    jnp.arange(32.0), jnp.arange(16.0), indexing="ij"
  )
  images = jnp.stack([rows, columns], -1)[None]
  centers, spans = [], []
  for view in augment.VIEWS["crops"](images):
    assert view.shape == images.shape
    centers.append(view.mean((0, 1, 2)).tolist())
    spans.append((view.max((0, 1, 2)) - view.min((0, 1, 2))).tolist())
  down, right = (28 - 1) / 2, (14 - 1) / 2
  expected = [(2, 1), (0, 0), (0, 2), (4, 0), (4, 2)]
  np.testing.assert_allclose(
    centers, [(y + down, x + right) for y, x in expected], atol=1e-4
  )
  np.testing.assert_allclose(spans, [(27, 13)] * 5, atol=1e-4)

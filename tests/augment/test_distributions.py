"""Ranges and independence of the random numbers of crops and rectangles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from dlcore import augment

ROWS, COLUMNS = 60, 40


def assert_uniform(values, low, high):
  """Checks that values fill a range evenly."""
  assert low - 1e-3 <= values.min()
  assert values.max() <= high + 1e-3
  # Fails for one of 10,000 sets of keys; these are fixed.
  assert stats.kstest(values, "uniform", (low, high - low)).pvalue > 1e-4


def assert_independent(**values):
  """Checks that no two of the random numbers are correlated."""
  names, matrix = list(values), np.corrcoef(list(values.values()))
  # Four standard deviations of the correlation of independent numbers.
  limit = 4 / np.sqrt(len(next(iter(values.values()))))
  for i, j in np.argwhere(np.triu(np.abs(matrix) > limit, 1)):
    raise AssertionError(f"{names[i]} and {names[j]}: {matrix[i, j]:.2f}")


def crop_windows(augmented, area):
  """Returns height, width, down and right of the crops of 300 keys."""
  rows, columns = np.meshgrid(
    np.arange(ROWS), np.arange(COLUMNS), indexing="ij"
  )
  # Bilinear interpolation keeps linear functions of the position.
  image = np.stack([rows, columns], -1).astype(np.float32)
  out = np.asarray(augmented(augment.resized_crop(area), image), np.float64)
  y, x = ROWS // 2, COLUMNS // 2
  height = out[:, y, x, 0] - out[:, y - 1, x, 0]
  width = out[:, y, x, 1] - out[:, y, x - 1, 1]
  center = (out[:, y, x] + out[:, y - 1, x - 1]) / 2
  down, right = (center - [(ROWS - 1) / 2, (COLUMNS - 1) / 2]).T
  return height, width, down, right


def test_resized_crop_samples_area_ratio_and_position_evenly(augmented):
  height, width, down, right = crop_windows(augmented, 0.1)
  fraction, ratio = height * width, np.log(width / height)
  assert height.max() <= 1 + 1e-5
  assert width.max() <= 1 + 1e-5
  # The window is where it fits: half of the rest in each direction.
  free = (height < 0.999) & (width < 0.999)
  vertical = down[free] / ((1 - height[free]) * ROWS)
  horizontal = right[free] / ((1 - width[free]) * COLUMNS)
  assert_uniform(vertical, -0.5, 0.5)
  assert_uniform(horizontal, -0.5, 0.5)
  # Smaller ones of each ratio from 3/4 to 4/3 are inside of the image.
  small = fraction < 0.75
  assert small.mean() == pytest.approx(0.65 / 0.9, abs=0.1)
  assert_uniform(fraction[small], 0.1, 0.75)
  assert_uniform(ratio[small], np.log(3 / 4), np.log(4 / 3))
  kept = small[free]
  assert_independent(
    fraction=fraction[small],
    ratio=ratio[small],
    vertical=vertical[kept],
    horizontal=horizontal[kept],
  )


def test_resized_crop_of_the_whole_area_cuts_the_longer_side_alone(augmented):
  height, width, _, _ = crop_windows(augmented, 1.0)
  np.testing.assert_allclose(np.maximum(height, width), 1, atol=1e-4)
  shorter = np.minimum(height, width)
  assert_uniform(np.log(shorter), np.log(np.sqrt(3 / 4)), 0)
  assert 100 < (height < width).sum() < 200


def matrices(augmented, function):
  """Returns the matrices `[N, 2, 2]` of warps around the center."""
  rows, columns = np.meshgrid(np.arange(21.0), np.arange(21.0), indexing="ij")
  image = np.stack([rows, columns], -1).astype(np.float32)
  out = np.asarray(augmented(function, image), np.float64)
  np.testing.assert_allclose(out[:, 10, 10], 10, atol=1e-4)
  return np.stack(
    [out[:, 11, 10] - out[:, 10, 10], out[:, 10, 11] - out[:, 10, 10]], -1
  )


def test_rotate_scale_and_shear_sample_their_ranges_evenly(augmented):
  rotation = matrices(augmented, augment.rotate(40.0))
  angle = np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])
  np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-4)
  assert_uniform(np.rad2deg(angle), -40, 40)
  scaling = matrices(augmented, augment.scale(0.5))
  size = scaling[:, 0, 0]
  np.testing.assert_allclose(
    scaling, size[:, None, None] * np.eye(2), atol=1e-4
  )
  assert_uniform(np.log(size), -np.log(1.5), np.log(1.5))
  shearing = matrices(augmented, augment.shear(40.0))
  slope = shearing[:, 1, 0].copy()
  shearing[:, 1, 0] = 0
  np.testing.assert_allclose(shearing, [np.eye(2)] * 300, atol=1e-4)
  assert_uniform(np.rad2deg(np.arctan(slope)), -40, 40)


@pytest.mark.parametrize(
  ("make", "color", "factor"),
  [
    (augment.brightness, (80, 80, 80), lambda a, b: a.mean(-1) / 80),
    (augment.contrast, (60, 60, 60), lambda a, b: (b - a).mean(-1) / 40),
    (augment.saturation, (80, 90, 100), lambda a, b: (a[:, 2] - a[:, 0]) / 20),
  ],
)
def test_factors_of_color_are_sampled_evenly(augmented, make, color, factor):
  image = np.full((6, 4, 3), 100.0, np.float32)
  image[:3] = color
  out = np.asarray(augmented(make(0.4), image / 255), np.float64) * 255
  assert_uniform(factor(out[:, 0, 0], out[:, -1, 0]), 0.6, 1.4)


def boxes(changed):
  """Returns top, bottom, left and right of the True regions `[N, Y, X]`."""
  rows, columns = changed.any(2), changed.any(1)
  np.testing.assert_array_equal(changed, rows[:, :, None] & columns[:, None, :])
  return (
    rows.argmax(1),
    ROWS - rows[:, ::-1].argmax(1),
    columns.argmax(1),
    COLUMNS - columns[:, ::-1].argmax(1),
  )


def test_erase_samples_area_ratio_and_position_evenly(augmented):
  image = jnp.full((ROWS, COLUMNS, 1), 2.0)  # The filling is below 1.
  changed = np.asarray(augmented(augment.erase(0.3), image) < 1)[..., 0]
  changed = changed[changed.any((1, 2))]
  assert 120 < len(changed) < 180
  top, bottom, left, right = boxes(changed)
  height, width = bottom - top, right - left
  fraction = height * width / (ROWS * COLUMNS)
  ratio = np.log(height / ROWS / (width / COLUMNS))
  # Up to a pixel less or more on each side.
  assert 0.005 < fraction.min() < 0.06
  assert 0.25 < fraction.max() < 0.34
  assert stats.kstest(fraction, "uniform", (0.02, 0.28)).pvalue > 1e-4
  assert (
    stats.kstest(ratio, "uniform", (np.log(0.3), -2 * np.log(0.3))).pvalue
    > 1e-4
  )
  vertical, horizontal = top / (ROWS - height), left / (COLUMNS - width)
  for position in (vertical, horizontal):
    assert stats.kstest(position, "uniform").pvalue > 1e-4
  assert_independent(
    fraction=fraction, ratio=ratio, vertical=vertical, horizontal=horizontal
  )


@pytest.mark.slow
def test_erase_fills_at_least_two_percent(augmented):
  image = jnp.full((ROWS, COLUMNS, 1), 2.0)
  changed = np.asarray(augmented(augment.erase(0.1), image) < 1)[..., 0]
  fraction = changed[changed.any((1, 2))].mean((1, 2))
  # Uniform from 0.02 to 0.1: four standard deviations of the mean.
  assert abs(fraction.mean() - 0.06) < 4 * 0.08 / np.sqrt(12 * len(fraction))


def test_cutout_is_centered_on_every_pixel_alike(augmented):
  image = jnp.ones((ROWS, COLUMNS, 1))
  changed = np.asarray(augmented(augment.cutout(6), image) == 0)[..., 0]
  top, bottom, left, right = boxes(changed)
  # Three pixels before the center, and two after it.
  vertical = np.where(top > 0, top + 3, bottom - 3)
  horizontal = np.where(left > 0, left + 3, right - 3)
  for start, stop, center, size in (
    (top, bottom, vertical, ROWS),
    (left, right, horizontal, COLUMNS),
  ):
    np.testing.assert_array_equal(start, np.maximum(center - 3, 0))
    np.testing.assert_array_equal(stop, np.minimum(center + 3, size))
    counts, _ = np.histogram(center, 10, (0, size))
    assert stats.chisquare(counts).pvalue > 1e-4
    assert len(np.unique(center)) > 0.95 * size
    assert (center.min(), center.max()) == (0, size - 1)
  assert_independent(vertical=vertical, horizontal=horizontal)


def test_cutmix_samples_share_and_position_evenly(compiled):
  keys = jax.random.split(jax.random.key(0), 300)
  image = jnp.zeros((ROWS, COLUMNS, 1))
  run = compiled(jax.vmap(augment.cutmix(1.0), (0, None, None)))
  mixed, share = map(np.asarray, run(keys, image, image + 1))
  changed = mixed[..., 0] > 0
  np.testing.assert_allclose(share, 1 - changed.mean((1, 2)), atol=1e-6)
  whole = np.sqrt(1 - share) < 0.4
  top, bottom, left, right = boxes(changed[whole & changed.any((1, 2))])
  vertical, horizontal = (top + bottom) / 2 / ROWS, (left + right) / 2 / COLUMNS
  # The center is anywhere in the image, so a part may be cut off.
  assert stats.kstest(vertical, "uniform").pvalue > 1e-4
  assert stats.kstest(horizontal, "uniform").pvalue > 1e-4
  inside = (top > 0) & (bottom < ROWS) & (left > 0) & (right < COLUMNS)
  height, width = (
    (bottom - top)[inside] / ROWS,
    (right - left)[inside] / COLUMNS,
  )
  assert np.abs(height - width).max() < 1 / COLUMNS + 1 / ROWS
  assert_independent(vertical=vertical, horizontal=horizontal)


@pytest.mark.parametrize("alpha", [0.4])
def test_shares_of_mixup_have_the_beta_distribution(compiled, alpha):
  keys = jax.random.split(jax.random.key(0), 300)
  run = compiled(jax.vmap(augment.mixup(alpha), (0, None, None)))
  mixed, share = run(keys, jnp.zeros((1, 1, 1)), jnp.ones((1, 1, 1)))
  np.testing.assert_allclose(mixed[:, 0, 0, 0], 1 - share, atol=1e-6)
  assert stats.kstest(share, "beta", (alpha, alpha)).pvalue > 1e-4

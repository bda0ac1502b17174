import jax.numpy as jnp
import numpy as np
import pytest

from dlcore import layers
from dlcore.errors import UserError


def sample(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("width", [8, 7])
def test_sinusoidal_encodings_equal_the_paper_in_either_order(width):
  table = layers.sinusoidal(20, width)
  for position, i in ((3, 0), (19, 2), (7, 3)):
    angle = position / 10_000 ** (2 * i / width)
    assert table[position, 2 * i] == pytest.approx(np.sin(angle), abs=1e-6)
    if 2 * i + 1 < width:
      assert table[position, 2 * i + 1] == pytest.approx(
        np.cos(angle), abs=1e-6
      )
  blocked = layers.sinusoidal(20, width, sines_first=True)
  np.testing.assert_array_equal(
    blocked, np.concatenate([table[:, 0::2], table[:, 1::2]], 1)
  )


def test_rotary_dot_products_depend_on_the_distance_only():
  query, key = sample(1, 1, 2, 6), sample(1, 1, 2, 6, seed=1)

  def product(at_query, at_key):
    rotated_query = layers.rotary(
      query, jnp.array([at_query]), rope_theta=100.0
    )
    rotated_key = layers.rotary(key, jnp.array([at_key]), rope_theta=100.0)
    return (rotated_query * rotated_key).sum(-1)

  np.testing.assert_allclose(product(3, 1), product(13, 11), atol=1e-5)
  assert np.abs(product(3, 1) - product(3, 2)).max() > 0.01
  np.testing.assert_allclose(product(0, 0), (query * key).sum(-1), atol=1e-6)


def test_rotation_pairs_the_halves_of_a_head():
  x = jnp.zeros((1, 1, 1, 4)).at[..., 1].set(1.0)
  rotated = layers.rotary(x, jnp.array([[2]]), rope_theta=100.0)[0, 0, 0]
  angle = 2 / 100 ** (2 / 4)
  np.testing.assert_allclose(
    rotated, [0, np.cos(angle), 0, np.sin(angle)], atol=1e-6
  )


def test_the_base_of_rotary_wavelengths_is_10000_as_in_the_paper():
  expected = 10_000 ** -np.array([0, 0.25, 0.5, 0.75])
  frequencies = layers.rotary_frequencies(8)
  np.testing.assert_allclose(frequencies, expected, rtol=1e-6)
  x, positions = sample(1, 3, 2, 8), jnp.arange(3)
  np.testing.assert_array_equal(
    layers.rotary(x, positions),
    layers.rotary(x, positions, frequencies=frequencies),
  )


def test_few_buckets_of_relative_positions_keep_neighbors_apart():
  buckets = layers.relative_position_bucket(
    -jnp.arange(5), bidirectional=False, num_buckets=3, max_distance=3
  )
  assert buckets.tolist() == [0, 1, 2, 2, 2]


@pytest.mark.parametrize("theta", [0.0, -1.0, float("inf"), float("nan")])
def test_an_invalid_rope_theta_is_an_error(theta):
  with pytest.raises(UserError, match="rope_theta > 0"):
    layers.rotary_frequencies(8, theta)


def test_an_odd_head_dim_is_an_error():
  with pytest.raises(UserError, match="even head_dim"):
    layers.rotary_frequencies(7)


def test_small_distances_have_their_own_bucket_and_large_ones_share():
  distances = np.arange(-200, 201)
  both = layers.relative_position_bucket(distances, bidirectional=True)
  past = layers.relative_position_bucket(distances, bidirectional=False)
  # Section 2.1 of the paper and the released code: 32 buckets up to 128.
  at = dict(zip(distances.tolist(), np.asarray(both).tolist(), strict=True))
  assert [at[d] for d in (0, -1, -7, -8, -16, -127, -200)] == [
    0,
    1,
    7,
    8,
    10,
    15,
    15,
  ]
  assert [at[d] for d in (1, 7, 8, 127, 200)] == [17, 23, 24, 31, 31]
  at = dict(zip(distances.tolist(), np.asarray(past).tolist(), strict=True))
  assert [at[d] for d in (200, 1, 0, -15, -16, -127, -200)] == [
    0,
    0,
    0,
    15,
    16,
    31,
    31,
  ]


@pytest.mark.parametrize("method", ["bicubic", "antialiased", "bilinear"])
def test_resizing_preserves_constants_and_the_original_size(method):
  table = sample(12, 5)
  same = layers.resize_table(table, (3, 4), (3, 4), method=method)
  np.testing.assert_array_equal(same, table)
  constant = layers.resize_table(
    np.ones_like(table), (3, 4), (7, 2), method=method
  )
  assert constant.shape == (14, 5)
  np.testing.assert_allclose(constant, 1, atol=1e-6)


# torch.nn.functional.interpolate of [[1, 2, 4, 8, 3, 0]], align_corners=False.
PYTORCH = {
  ("bicubic", 4): [1.156250, 3.160156, 7.394531, 0.503906],
  ("bicubic", 9): [
    0.913195,
    1.3125,
    2.304398,
    3.383102,
    6.65625,
    7.681714,
    4.047454,
    1.03125,
    -0.260417,
  ],
  ("antialiased", 4): [1.215209, 3.761102, 6.344564, 0.823624],
  ("antialiased", 9): [
    0.934211,
    1.352941,
    2.252314,
    3.539352,
    6.4375,
    7.664353,
    3.821758,
    1.117647,
    -0.197369,
  ],
}


@pytest.mark.parametrize(("method", "size"), PYTORCH)
def test_resizing_equals_that_of_pytorch(method, size):
  row = np.array([[1.0], [2], [4], [8], [3], [0]])
  resized = layers.resize_table(row, (1, 6), (1, size), method=method)
  np.testing.assert_allclose(resized[:, 0], PYTORCH[method, size], atol=1e-5)


def test_bilinear_resizing_aligns_corners():
  row = np.array([[1.0], [2], [4]])
  resized = layers.resize_table(row, (1, 3), (1, 5), method="bilinear")
  np.testing.assert_allclose(resized[:, 0], [1, 1.5, 2, 3, 4])


def test_an_unknown_method_is_an_error():
  with pytest.raises(UserError, match="did you mean 'bicubic'"):
    layers.resize_table(np.ones((1, 1)), (1, 1), (2, 2), method="bicubik")

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.layers import (
  DropBlock,
  Dropout,
  StochasticDepth,
  drop_block,
  dropout,
  stochastic_depth,
  stochastic_depth_rates,
)

KEY = jax.random.key(0)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("width", [64, 65, 1])
def test_dropout_drops_a_fraction_rate_and_preserves_the_mean(rate, width):
  x = jnp.ones((100_000 // width, width))
  y = np.asarray(dropout(KEY, x, rate))
  # Six standard deviations of a fraction of 100,000.
  tolerance = 6 * np.sqrt(rate * (1 - rate) / y.size)
  assert abs((y == 0).mean() - rate) < tolerance
  assert abs(y.mean() - 1) < tolerance / (1 - rate)
  np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=1e-6)


def test_neighbors_are_dropped_independently():
  dropped = np.asarray(dropout(KEY, jnp.ones((1000, 64)), 0.5)) == 0
  correlation = np.corrcoef(dropped, rowvar=False) - np.eye(64)
  assert np.abs(correlation).max() < 6 / np.sqrt(1000)


def test_a_traced_rate_gives_the_same_bits_as_a_number():
  x = jax.random.normal(KEY, (16, 7))
  traced = jax.jit(dropout)
  for rate in (0.0, 0.3, 1.0):
    np.testing.assert_array_equal(traced(KEY, x, rate), dropout(KEY, x, rate))
  np.testing.assert_array_equal(traced(KEY, x, 0.0), x)
  assert not np.any(traced(KEY, x, 1.0))


def test_rates_can_be_vmapped():
  x = jnp.ones((8, 32))
  rates = jnp.array([0.0, 0.2, 0.8])
  mapped = jax.vmap(lambda rate: dropout(KEY, x, rate))(rates)
  for rate, y in zip(rates, mapped, strict=True):
    np.testing.assert_array_equal(y, dropout(KEY, x, rate))


def test_gradients_flow_through_kept_elements_and_are_finite():
  x = jax.random.normal(KEY, (16, 8))
  for rate in (0.0, 0.5, 1.0):
    rate = jnp.float32(rate)
    gradient = jax.grad(lambda x, rate=rate: dropout(KEY, x, rate).sum())(x)
    ones = dropout(KEY, jnp.ones_like(x), rate)
    np.testing.assert_array_equal(gradient, ones)
    assert np.isfinite(gradient).all()


def test_the_mask_does_not_depend_on_the_mesh():
  mesh = jax.make_mesh(
    (8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,)
  )
  sharding = jax.sharding.NamedSharding(
    mesh, jax.sharding.PartitionSpec("data")
  )
  x = jnp.ones((64, 33))
  sharded = jax.jit(dropout)(KEY, jax.device_put(x, sharding), 0.5)
  np.testing.assert_array_equal(sharded, dropout(KEY, x, 0.5))


def test_a_python_zero_or_eval_mode_compiles_to_no_operation():
  x = jnp.ones((4, 4))
  for rate, train in ((0.0, True), (0, True), (0.5, False)):
    program = jax.make_jaxpr(
      lambda x, r=rate, t=train: Dropout(r).apply(
        {}, x, train=t, rngs={"dropout": KEY}
      )
    )(x)
    assert not program.eqns


def test_the_dtype_is_preserved():
  x = jnp.ones((4, 4), jnp.bfloat16)
  assert dropout(KEY, x, 0.5).dtype == jnp.bfloat16


def test_the_scale_is_not_rounded_to_half_precision():
  x = jnp.linspace(1, 2, 10_000, dtype=jnp.bfloat16)
  y = dropout(KEY, x, 0.1).astype(jnp.float32)
  kept = y != 0
  # Elements are rounded up as often as down.
  ratio = y[kept].sum() / x.astype(jnp.float32)[kept].sum()
  assert float(ratio) == pytest.approx(1 / 0.9, rel=2e-4)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_stochastic_depth_drops_whole_examples_and_preserves_the_mean(rate):
  x = jnp.ones((20_000, 2, 3))
  y = np.asarray(stochastic_depth(KEY, x, rate))
  assert (y == y[:, :1, :1]).all()
  tolerance = 6 * np.sqrt(rate * (1 - rate) / len(y))
  assert abs((y[:, 0, 0] == 0).mean() - rate) < tolerance
  np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 4])
def test_blocks_are_squares_within_the_image_and_differ_by_channel(size):
  # The rate is so small that blocks rarely overlap.
  x = jnp.ones((400, 12, 12, 3))
  dropped = np.asarray(drop_block(KEY, x, 0.002 * size**2, size)) == 0
  assert dropped.any()
  for image in np.moveaxis(dropped, 3, 1).reshape(-1, 12, 12):
    rows, columns = np.nonzero(image)
    if len(rows) == size**2:
      assert np.ptp(rows) == np.ptp(columns) == size - 1
  counts = dropped.sum((1, 2))
  single = (counts == size**2).sum()
  assert single > 0.8 * (counts > 0).sum()
  assert (counts == 0).any()


@pytest.mark.parametrize("size", [1, 3, 20])
def test_blocks_drop_about_a_fraction_rate_and_preserve_the_mean(size):
  x = jnp.ones((600, 14, 14, 8))
  y = np.asarray(drop_block(KEY, x, 0.1, size))
  # Overlapping blocks drop less than the rate. The upper bound is six standard
  # deviations for blocks as large as the image, of which there are fewest.
  assert 0.08 < (y == 0).mean() < 0.1 + 6 * np.sqrt(0.09 / (600 * 8))
  assert y.mean() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("layer", [StochasticDepth, DropBlock])
def test_other_kinds_of_dropout_accept_a_traced_rate_and_are_off_in_eval_mode(
  layer,
):
  x = jnp.ones((16, 6, 6, 2))
  module = layer(0.5)
  np.testing.assert_array_equal(module.apply({}, x, train=False), x)
  np.testing.assert_array_equal(layer().apply({}, x, train=True), x)
  rngs = {"dropout": KEY}

  @jax.jit
  def traced(rate):
    return layer(rate).apply({}, x, train=True, rngs=rngs)

  fixed = module.apply({}, x, train=True, rngs=rngs)
  # The fraction is computed in float32 in one, in float64 in the other.
  np.testing.assert_allclose(traced(0.5), fixed, rtol=1e-6)
  np.testing.assert_array_equal(traced(0.0), x)
  assert (fixed == 0).any()


def test_stochastic_depth_rates_increase_from_zero_in_the_first_block():
  rates = stochastic_depth_rates(0.9, 4)
  np.testing.assert_allclose(rates, [0, 0.3, 0.6, 0.9], rtol=1e-6)
  np.testing.assert_allclose(stochastic_depth_rates(0.9, 2), [0, 0.9])
  assert stochastic_depth_rates(0.9, 1) == 0
  assert stochastic_depth_rates(0.0, 4) is None
  traced = jax.jit(lambda rate: stochastic_depth_rates(rate, 4))(0.9)
  np.testing.assert_allclose(traced, rates, rtol=1e-6)

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.layers import Dropout, dropout

KEY = jax.random.key(0)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("width", [64, 65, 1])
def test_the_share_and_the_mean_are_those_of_the_rate(rate, width):
  x = jnp.ones((100_000 // width, width))
  y = np.asarray(dropout(KEY, x, rate))
  # Six standard deviations of a share of 100,000.
  spread = 6 * np.sqrt(rate * (1 - rate) / y.size)
  assert abs((y == 0).mean() - rate) < spread
  assert abs(y.mean() - 1) < spread / (1 - rate)
  np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=1e-6)


def test_neighbours_are_dropped_independently():
  dropped = np.asarray(dropout(KEY, jnp.ones((1000, 64)), 0.5)) == 0
  correlation = np.corrcoef(dropped, rowvar=False) - np.eye(64)
  assert np.abs(correlation).max() < 6 / np.sqrt(1000)


def test_a_traced_rate_gives_the_bits_of_the_number():
  x = jax.random.normal(KEY, (16, 7))
  traced = jax.jit(dropout)
  for rate in (0.0, 0.3, 1.0):
    np.testing.assert_array_equal(traced(KEY, x, rate), dropout(KEY, x, rate))
  np.testing.assert_array_equal(traced(KEY, x, 0.0), x)
  assert not np.any(traced(KEY, x, 1.0))


def test_rates_can_be_mapped_over():
  x = jnp.ones((8, 32))
  rates = jnp.array([0.0, 0.2, 0.8])
  many = jax.vmap(lambda rate: dropout(KEY, x, rate))(rates)
  for rate, y in zip(rates, many, strict=True):
    np.testing.assert_array_equal(y, dropout(KEY, x, rate))


def test_gradients_flow_through_what_is_kept_and_stay_finite():
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
  split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
  x = jnp.ones((64, 33))
  sharded = jax.jit(dropout)(KEY, jax.device_put(x, split), 0.5)
  np.testing.assert_array_equal(sharded, dropout(KEY, x, 0.5))


def test_no_work_without_training_or_rate():
  x = jnp.ones((4, 4))
  for rate, train in ((0.0, True), (0, True), (0.5, False)):
    program = jax.make_jaxpr(
      lambda x, r=rate, t=train: Dropout(r).apply(
        {}, x, train=t, rngs={"dropout": KEY}
      )
    )(x)
    assert not program.eqns


def test_dtype_is_kept():
  x = jnp.ones((4, 4), jnp.bfloat16)
  assert dropout(KEY, x, 0.5).dtype == jnp.bfloat16

"""BatchNorm against the formulas in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from dlcore import layers


def images(seed, mean=0.0, shape=(4, 3, 3, 5)):
  values = np.random.default_rng(seed).normal(mean, 1, shape)
  return values.astype(np.float32)


def apply(x, variables=None, **fields):
  norm = layers.BatchNorm(use_running_average=False, **fields)
  variables = variables or norm.init(jax.random.key(0), x)
  y, changed = norm.apply(variables, x, mutable=["batch_stats"])
  return y, {**variables, **changed}


def moments(x):
  rows = x.astype(np.float64).reshape(-1, x.shape[-1])
  return rows.mean(0), rows.var(0), rows.var(0, ddof=1)


@pytest.mark.parametrize("mean", [0, 100, 3000])
def test_the_output_is_accurate_at_any_mean(mean):
  x = images(0, mean)
  y, _ = apply(x, epsilon=1e-5)
  m, v, _ = moments(x)
  expected = (x.astype(np.float64) - m) / np.sqrt(v + 1e-5)
  # The mean is a float32 sum: an error of 3 ulp is 2e-7 of it. PyTorch's error
  # at 100 is 1.3e-5, that of E[x^2] - E[x]^2 1.3e-2.
  assert np.abs(y - expected).max() <= max(2e-6, 2e-7 * mean)


def test_running_statistics_are_those_of_pytorch():
  variables, mean, var = None, 0.0, 1.0
  for seed in range(3):
    x = images(seed, mean=2)
    m, _, unbiased = moments(x)
    mean, var = 0.9 * mean + 0.1 * m, 0.9 * var + 0.1 * unbiased
    _, variables = apply(x, variables, momentum=0.9)
  statistics = variables["batch_stats"]
  np.testing.assert_allclose(statistics["mean"], mean, rtol=1e-6)
  np.testing.assert_allclose(statistics["var"], var, rtol=1e-6)


def test_devices_count_the_values_of_all():
  x = images(0, shape=(8, 2, 2, 3))
  _, whole = apply(x, momentum=0.9)
  norm = layers.BatchNorm(
    use_running_average=False, momentum=0.9, axis_name="data"
  )
  run = jax.vmap(
    lambda part: norm.apply(norm_variables, part, mutable=["batch_stats"])[1][
      "batch_stats"
    ],
    axis_name="data",
  )
  norm_variables = layers.BatchNorm(use_running_average=False).init(
    jax.random.key(0), x
  )
  parts = run(x.reshape(4, 2, 2, 2, 3))
  for name, leaf in whole["batch_stats"].items():
    np.testing.assert_allclose(parts[name], np.stack([leaf] * 4), rtol=1e-6)


def test_masked_values_do_not_count():
  x = images(0, shape=(6, 3))
  _, expected = apply(x[:4])
  norm = layers.BatchNorm(use_running_average=False)
  variables = norm.init(jax.random.key(0), x)
  mask = (jnp.arange(6) < 4)[:, None]
  _, masked = norm.apply(variables, x, mask=mask, mutable=["batch_stats"])
  for name, leaf in expected["batch_stats"].items():
    np.testing.assert_allclose(masked["batch_stats"][name], leaf, rtol=1e-6)


def test_one_value_has_no_variance_and_stays_finite():
  y, variables = apply(images(0, shape=(1, 3)))
  assert np.isfinite(y).all()
  np.testing.assert_allclose(variables["batch_stats"]["var"], 0.99)


def test_evaluation_changes_nothing():
  x = images(0)
  _, variables = apply(x)
  norm = layers.BatchNorm()
  y, after = norm.apply(
    variables, x, use_running_average=True, mutable=["batch_stats"]
  )
  jax.tree.map(
    np.testing.assert_array_equal,
    after,
    {"batch_stats": variables["batch_stats"]},
  )
  reference = nn.BatchNorm(use_running_average=True).apply(variables, x)
  np.testing.assert_array_equal(y, reference)


def test_the_gradient_is_that_of_flax():
  x = images(0, mean=0.5)

  def loss(kind, x):
    norm = kind(use_running_average=False)
    variables = norm.init(jax.random.key(0), x)
    y, _ = norm.apply(variables, x, mutable=["batch_stats"])
    return jnp.sum(jnp.sin(y))

  expected, actual = (
    jax.grad(functools.partial(loss, kind))(x)
    for kind in (nn.BatchNorm, layers.BatchNorm)
  )
  assert np.abs(expected - actual).max() <= 1e-5 * np.abs(expected).max()


def test_a_frozen_layer_keeps_its_statistics_in_training():
  x = images(0)
  norm = layers.BatchNorm(use_running_average=False)
  variables = norm.init(jax.random.key(0), x)
  with layers.frozen("scale|bias"):
    y, after = norm.apply(variables, x, mutable=["batch_stats"])
  np.testing.assert_allclose(y, x / np.sqrt(1 + 1e-5), rtol=1e-6)
  np.testing.assert_array_equal(after["batch_stats"]["var"], np.ones(5))

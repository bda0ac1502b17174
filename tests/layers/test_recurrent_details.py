"""Initial carries, dropout between layers, and the norm of gates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.layers import CELLS, Recurrent, recur, scan_cell
from dlcore.layers.recurrent_cell import layer_norm

KEY = jax.random.key(0)


def sample(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("run", [recur, scan_cell])
@pytest.mark.parametrize("name", CELLS)
def test_the_carry_is_zero_by_default(name, run):
  cell = CELLS[name]
  size = cell.num_gates * 4
  params = {
    "input_kernel": sample(0, 3, size),
    "input_bias": sample(1, size),
    "hidden_kernel": sample(2, 4, size),
    "hidden_bias": sample(3, size),
  }
  zeros = (jnp.zeros((2, 4)),) * cell.num_states
  x = sample(4, 3, 2, 3)
  jax.tree.map(
    np.testing.assert_array_equal,
    run(cell, x, params),
    run(cell, x, params, carry=zeros),
  )


def test_dropout_is_between_layers():
  x = sample(0, 2, 3, 4)

  def run(depth, scale, train=True):
    module = Recurrent("rnn", 5, depth=depth, dropout=1.0)
    variables = module.init(KEY, x, train=False)
    rngs = {"dropout": KEY}
    return module.apply(variables, scale * x, train=train, rngs=rngs)[0]

  np.testing.assert_array_equal(run(1, 1.0), run(1, 1.0, train=False))
  # All of the input of the second layer is dropped.
  np.testing.assert_array_equal(run(2, 1.0), run(2, 3.0))


def test_layer_norm_gives_mean_0_and_variance_1():
  x = 5 + 3 * sample(0, 4, 64)
  y = np.asarray(layer_norm(x), np.float64)
  np.testing.assert_allclose(y.mean(-1), 0, atol=1e-6)
  np.testing.assert_allclose(y.var(-1), 1, rtol=1e-4)


def test_the_epsilon_of_layer_norm_is_that_of_pytorch():
  x = np.tile([-1e-3, 1e-3], 4).astype(np.float32)
  expected = x / np.sqrt(1e-6 + 1e-5)
  np.testing.assert_allclose(layer_norm(x), expected, rtol=1e-5)


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
def test_recurrent_dropout_drops_the_same_weights_at_all_steps(rate):
  layers = Recurrent("gru", 8, recurrent_dropout=rate)
  x = jax.random.normal(jax.random.key(0), (2, 5, 3))
  params = layers.init(jax.random.key(1), x, train=False)["params"]

  def run(params, train):
    rngs = {"dropout": jax.random.key(2)}
    return layers.apply({"params": params}, x, train=train, rngs=rngs)[0]

  gradient = jax.grad(lambda params: (run(params, True) ** 2).sum())(params)
  (name,) = params
  kept = np.asarray(gradient[name]["hidden_kernel"]) != 0
  assert abs(kept.mean() - (1 - rate)) < 0.1
  scale = 1 / (1 - rate) if rate < 1 else 0
  kernel = params[name]["hidden_kernel"] * kept * scale
  dropped = {name: params[name] | {"hidden_kernel": kernel}}
  np.testing.assert_allclose(
    run(params, True), run(dropped, False), rtol=1e-5, atol=1e-6
  )

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from dlcore.layers import avg_pool, max_pool

# Compilation takes most of the time.
jit = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)
CASES = [
  ((8, 8), (2, 2), (2, 2), "VALID"),
  ((7, 9), (2, 2), (2, 2), "VALID"),
  ((7, 9), (2, 2), (2, 2), "SAME"),
  ((9, 8), (3, 2), (3, 2), "VALID"),
  ((9, 8), (3, 3), (2, 2), "SAME"),
  ((9, 8), (3, 3), (2, 1), "VALID"),
  ((8, 8), (2, 2), (1, 1), "VALID"),
  ((8, 8), (2, 2), (3, 3), "VALID"),
  ((8, 8), (3, 3), (3, 3), ((1, 0), (1, 2))),
  ((5, 5), (5, 5), (5, 5), "VALID"),
]
POOLS = {"max": (max_pool, nn.max_pool), "avg": (avg_pool, nn.avg_pool)}


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_output_and_gradient_equal_those_of_flax_also_with_ties(case, name):
  size, window, strides, padding = case
  actual, expected = POOLS[name]
  # NumPy, because sampling with JAX would compile a program for each shape.
  x = np.random.default_rng(0).normal(size=(3, *size, 4)).astype(np.float32)
  # Small integers, most of them zero, as after a relu.
  ties = np.maximum(np.round(x), 0)

  @functools.partial(jit, static_argnums=0)
  def value_and_gradient(pool, x):
    y, pullback = jax.vjp(
      lambda x: pool(x, window, strides=strides, padding=padding), x
    )
    return y, pullback(jnp.cos(jnp.arange(y.size)).reshape(y.shape))[0]

  for values in (x, ties):
    a, b = (value_and_gradient(pool, values) for pool in (actual, expected))
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), a, b
    )


@pytest.mark.parametrize("name", POOLS)
def test_jvp_is_the_transpose_of_the_gradient_under_jit_and_vmap(name):
  pool, _ = POOLS[name]
  x, dx = jax.random.normal(jax.random.key(0), (2, 3, 2, 6, 6, 4))

  @jit
  @jax.vmap
  def inner(x, dx):
    y, pullback = jax.vjp(lambda x: pool(x, (2, 2), strides=(2, 2)), x)
    _, dy = jax.jvp(lambda x: pool(x, (2, 2), strides=(2, 2)), (x,), (dx,))
    return jnp.sum(y * dy), jnp.sum(pullback(y)[0] * dx)

  np.testing.assert_allclose(*inner(x, dx), rtol=1e-5)


@pytest.mark.parametrize("strides", [(2, 2), (1, 1)])
def test_nan_propagates(strides):
  for position in ((0, 0), (0, 1), (1, 1)):
    x = jnp.zeros((1, 2, 2, 1)).at[0, *position, 0].set(jnp.nan)
    assert np.isnan(max_pool(x, (2, 2), strides=strides)).all()


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (7, 1)])
def test_bfloat16_is_preserved_and_rounded_once(name, size, stride):
  pool, reference = POOLS[name]
  x = jax.random.uniform(jax.random.key(0), (2, 8, 8, 4), jnp.bfloat16)
  window, strides = (size, size), (stride, stride)
  y = pool(x, window, strides=strides)
  assert y.dtype == jnp.bfloat16
  exact = reference(x.astype(jnp.float32), window, strides=strides)
  np.testing.assert_allclose(
    y.astype(jnp.float32), exact, rtol=2**-8, atol=2**-8
  )

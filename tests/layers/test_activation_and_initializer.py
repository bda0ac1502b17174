import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.layers import ACTIVATIONS, INITIALIZERS


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_elementwise_with_finite_gradients(name):
  x = jnp.linspace(-30, 30, 61)
  y = ACTIVATIONS[name](x)
  np.testing.assert_allclose(
    y[::-1], ACTIVATIONS[name](x[::-1]), rtol=1e-6, atol=1e-6
  )
  slopes = jax.vmap(jax.grad(ACTIVATIONS[name]))(x)
  assert np.isfinite(y).all()
  assert np.isfinite(slopes).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_exact_gelu_equals_the_formulation_by_erfc(dtype):
  x = jnp.linspace(-9, 9, 181, dtype=dtype)
  expected = jax.nn.gelu(x.astype(jnp.float32), approximate=False)
  y = ACTIVATIONS["gelu_exact"](x)
  assert y.dtype == dtype
  # Half an ulp of bfloat16. If 1 + erf is close to 0, its error is an ulp of
  # float32 times x / 2, 9 / 2 * 1.2e-7.
  np.testing.assert_allclose(
    y.astype(jnp.float32),
    expected,
    rtol=1e-6 if dtype == jnp.float32 else 2**-8,
    atol=5.4e-7,
  )


@pytest.mark.parametrize(
  ("name", "variance"),
  [
    ("lecun", 1 / 400),
    ("he", 2 / 400),
    ("glorot", 2 / (400 + 200)),
    ("normal", 0.02**2),
    ("orthogonal", 1 / 400),
  ],
)
def test_initializers_have_the_variance_of_their_papers(name, variance):
  kernel = INITIALIZERS[name](jax.random.key(0), (400, 200), jnp.float32)
  assert abs(kernel.var() / variance - 1) < 0.02
  assert abs(kernel.mean()) < 3 * np.sqrt(variance / kernel.size)


def test_the_orthogonal_initializer_is_orthogonal():
  kernel = INITIALIZERS["orthogonal"](jax.random.key(0), (40, 20), jnp.float32)
  np.testing.assert_allclose(kernel.T @ kernel, np.eye(20), atol=1e-5)

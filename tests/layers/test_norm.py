import jax.numpy as jnp
import numpy as np

from dlcore.layers import LayerNorm


def test_a_constant_offset_changes_the_output_little():
  x = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
  params = {"scale": np.ones(64), "bias": np.zeros(64)}

  def norm(x):
    return LayerNorm(1e-12).apply({"params": params}, jnp.asarray(x))

  # With an offset of 1000, 13 of 23 bits remain for the differences.
  np.testing.assert_allclose(norm(x + 1000), norm(x), atol=2e-4)

import jax
import jax.numpy as jnp
import numpy as np

from dlcore import layers


@jax.jit
def both(x, kernel, bias):
  """Returns the patches, and the convolution that they should be."""
  variables = {"params": {"kernel": kernel, "bias": bias}}
  convolved = layers.convolution(x, kernel, strides=(3, 3), padding="VALID")
  return layers.PatchEmbed(5, 3).apply(variables, x), convolved + bias


def test_patches_are_a_convolution_of_that_stride():
  draw = np.random.default_rng(0).normal
  arrays = draw(size=(2, 6, 9, 2)), draw(size=(3, 3, 2, 5)), draw(size=(5,))
  found, wanted = both(*map(jnp.float32, arrays))
  np.testing.assert_allclose(found, wanted, atol=1e-5)

import jax
import jax.numpy as jnp
import numpy as np

from dlcore import layers


@jax.jit
def embed_and_convolve(x, kernel, bias):
  """Returns the patch embedding and the equivalent convolution."""
  variables = {"params": {"kernel": kernel, "bias": bias}}
  convolved = layers.convolution(x, kernel, strides=(3, 3), padding="VALID")
  return layers.PatchEmbed(5, 3).apply(variables, x), convolved + bias


def test_a_patch_embedding_is_a_convolution_of_the_same_stride():
  normal = np.random.default_rng(0).normal
  shapes = (2, 6, 9, 2), (3, 3, 2, 5), (5,)
  arrays = (jnp.float32(normal(size=shape)) for shape in shapes)
  embedded, convolved = embed_and_convolve(*arrays)
  np.testing.assert_allclose(embedded, convolved, atol=1e-5)

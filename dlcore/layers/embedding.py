"""Tables of vectors, looked up by ids."""

import jax.numpy as jnp
from flax import linen as nn

from dlcore.typing import Array


class Embed(nn.Embed):
  """Flax's, in which an id below 0 is no row either.

  An id without a row gives NaN, so that it cannot pass unseen: there is no
  exception in a compiled program.
  """

  def __call__(self, inputs: Array) -> Array:
    """Maps ids, int `[...]`, to `[..., features]`."""
    return super().__call__(jnp.where(inputs < 0, self.num_embeddings, inputs))

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
    # Bytes, uint8, have no number for a row that there is not.
    ids = inputs.astype(jnp.promote_types(inputs.dtype, jnp.int32))
    return super().__call__(jnp.where(ids < 0, self.num_embeddings, ids))

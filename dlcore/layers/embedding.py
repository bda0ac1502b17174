"""Embedding of token ids that returns NaN for ids out of range."""

import jax.numpy as jnp
from flax import linen as nn

from dlcore.typing import Array


class Embed(nn.Embed):
  """Flax's `Embed`, with NaN for negative ids too.

  An id out of range returns NaN, so that the error becomes visible: a compiled
  program cannot raise. Flax's own `Embed` wraps negative ids.
  """

  def __call__(self, inputs: Array) -> Array:
    """Maps ids, int `[...]`, to `[..., features]`."""
    # uint8 cannot represent an index that is out of range.
    ids = inputs.astype(jnp.promote_types(inputs.dtype, jnp.int32))
    return super().__call__(jnp.where(ids < 0, self.num_embeddings, ids))

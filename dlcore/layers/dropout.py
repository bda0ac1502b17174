"""Dropout whose rate may be a traced number."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from dlcore.typing import Array


def dropout(key: Array, x: Array, rate: float | Array) -> Array:
  """Zeroes each element with probability `rate` and scales up the others.

  The mask depends on the key and the shape only, not on a device mesh. It is
  drawn in steps of 2**-16, so the expectation is kept within 2**-16.

  Args:
    key: random key, used once.
    x: float array of any shape.
    rate: from 0 to 1, a number or a traced scalar; 1 gives zeros.

  Returns:
    An array of the shape and dtype of `x`.

  Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks
  from overfitting".
  """
  if isinstance(rate, (int, float)) and rate == 0:
    return x
  bits = jax.random.bits(key, x.shape, jnp.uint16)
  threshold = jnp.round(jnp.float32(rate) * 2**16).astype(jnp.uint32)
  scale = 1 / jnp.maximum(1 - jnp.float32(rate), 1e-6)
  keep = bits.astype(jnp.uint32) >= threshold
  return jnp.where(keep, x * scale.astype(x.dtype), 0)


class Dropout(nn.Module):
  """Applies `dropout` in training, with a key from the stream "dropout"."""

  rate: float | Array = 0.0

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Drops elements of `x` if `train`, else returns it as it is."""
    if not train or (isinstance(self.rate, (int, float)) and self.rate == 0):
      return x
    return dropout(self.make_rng("dropout"), x, self.rate)

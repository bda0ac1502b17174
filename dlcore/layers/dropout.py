"""Dropout whose rate may be a traced number."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from dlcore.typing import Array


def dropout(key: Array, x: Array, rate: float | Array) -> Array:
  """Zeroes each element with probability `rate` and scales up the others.

  The mask depends on the key and the shape only, not on a device mesh. It is
  drawn in steps of 2**-16, so the expectation is kept within 2**-16.

  Args:
    key: random key, used once.
    x: float array of at least one axis.
    rate: from 0 to 1, a number or a traced scalar; 1 gives zeros.

  Returns:
    An array of the shape and dtype of `x`.

  Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks
  from overfitting".
  """
  if isinstance(rate, (int, float)) and rate == 0:
    return x
  *rows, width = x.shape
  # Half a word is enough for an element, and words are what takes the time.
  words = jax.random.bits(key, (*rows, (width + 1) // 2), jnp.uint32)
  halves = lax.bitcast_convert_type(words, jnp.uint16)
  halves = halves.reshape(*rows, -1)[..., :width]
  rate = jnp.asarray(rate, jnp.float32)
  kept = halves.astype(jnp.int32) >= jnp.round(rate * 2**16).astype(jnp.int32)
  scale = (1 / jnp.maximum(1 - rate, 2**-16)).astype(x.dtype)
  return jnp.where(kept, x * scale, 0)


class Dropout(nn.Module):
  """Applies `dropout` in training, with a key from the stream "dropout"."""

  rate: float | Array = 0.0

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Drops elements of `x` if `train`, else returns it as it is."""
    if not train or (isinstance(self.rate, (int, float)) and self.rate == 0):
      return x
    return dropout(self.make_rng("dropout"), x, self.rate)

"""Dropping at random, elements, blocks or examples, at a traced rate."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from dlcore.typing import Array


def dropout(key: Array, x: Array, rate: float | Array) -> Array:
  """Zeroes each element with probability `rate` and scales up the others.

  The mask depends on the key and the shape only, not on a device mesh. It is
  drawn in steps of 2**-16, so the expectation is kept within 2**-16 and the
  rounding of the dtype.

  Args:
    key: random key, used once.
    x: float array of at least one axis.
    rate: from 0 to 1, a number or a traced scalar; 1 gives zeros.

  Returns:
    An array of the shape and dtype of `x`.

  Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks
  from overfitting".
  """
  if _is_zero(rate):
    return x
  *rows, width = x.shape
  # Half a word is enough for an element, and words are what takes the time.
  words = jax.random.bits(key, (*rows, (width + 1) // 2), jnp.uint32)
  halves = lax.bitcast_convert_type(words, jnp.uint16)
  halves = halves.reshape(*rows, width + width % 2)[..., :width]
  rate = jnp.asarray(rate, jnp.float32)
  kept = halves.astype(jnp.int32) >= jnp.round(rate * 2**16).astype(jnp.int32)
  return jnp.where(kept, _scaled(x, 1 - rate), 0)


def stochastic_depth(key: Array, x: Array, rate: float | Array) -> Array:
  """Zeroes whole examples with probability `rate` and scales up the others.

  Meant for the branch of a residual block, which an example then skips.

  Args:
    key: random key, used once.
    x: float array `[B, ...]`.
    rate: from 0 to 1, a number or a traced scalar; 1 gives zeros.

  Returns:
    An array of the shape and dtype of `x`.

  Huang et al. 2016, arXiv:1603.09382, scaled in training as dropout is.
  """
  if _is_zero(rate):
    return x
  shape = (x.shape[0], *[1] * (x.ndim - 1))
  kept = jax.random.uniform(key, shape) >= rate
  return jnp.where(kept, _scaled(x, 1 - jnp.asarray(rate)), 0)


def drop_block(key: Array, x: Array, rate: float | Array, size: int) -> Array:
  """Zeroes square blocks of each channel and scales up what is left.

  Neighbouring pixels tell much the same, so that dropping them one by one
  hides little from a convolution. About a share `rate` of a channel is
  dropped; what is left is scaled by the share that it has in the batch.

  Args:
    key: random key, used once.
    x: float images `[B, Y, X, C]`.
    rate: from 0 to 1, a number or a traced scalar.
    size: rows and columns of a block; at most those of the image count.

  Returns:
    An array of the shape and dtype of `x`.

  Ghiasi, Lin & Le 2018, arXiv:1810.12890, eq. 1 for the rate of centres.
  """
  if _is_zero(rate):
    return x
  _, rows, columns, _ = x.shape
  size = min(size, rows, columns)
  free = (rows - size + 1, columns - size + 1)
  share = rate / size**2 * (rows * columns) / (free[0] * free[1])
  corner = jax.random.uniform(key, (x.shape[0], *free, x.shape[3])) < share
  wide = ((0, 0), (size - 1, size - 1), (size - 1, size - 1), (0, 0))
  # A pixel is dropped if any of the blocks that cover it begins.
  dropped = lax.reduce_window(
    corner, False, lax.bitwise_or, (1, size, size, 1), (1, 1, 1, 1), wide
  )
  left = jnp.mean(~dropped, dtype=jnp.float32)
  return jnp.where(dropped, 0, _scaled(x, left))


def stochastic_depth_rate(most: float | Array, share: float) -> float | Array:
  """Returns the rate of a block at `share` of the depth: it grows linearly.

  Args:
    most: rate of the last block, a number or a traced scalar.
    share: from 0 to 1.
  """
  return most if _is_zero(most) else most * share


class Dropout(nn.Module):
  """Applies `dropout` in training, with a key from the stream "dropout"."""

  rate: float | Array = 0.0

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Drops elements of `x` if `train`, else returns it as it is."""
    if not train or _is_zero(self.rate):
      return x
    return dropout(self.make_rng("dropout"), x, self.rate)


class StochasticDepth(nn.Module):
  """Applies `stochastic_depth` in training, keyed from "dropout"."""

  rate: float | Array = 0.0

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Drops examples of `x` `[B, ...]` if `train`."""
    if not train or _is_zero(self.rate):
      return x
    return stochastic_depth(self.make_rng("dropout"), x, self.rate)


class DropBlock(nn.Module):
  """Applies `drop_block` in training, keyed from the stream "dropout"."""

  rate: float | Array = 0.0
  size: int = 7

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Drops blocks of images `[B, Y, X, C]` if `train`."""
    if not train or _is_zero(self.rate):
      return x
    return drop_block(self.make_rng("dropout"), x, self.rate, self.size)


def _is_zero(rate: float | Array) -> bool:
  return isinstance(rate, int | float) and rate == 0


def _scaled(x: Array, kept: Array) -> Array:
  """Returns `x` with its expectation kept where a share `kept` is left.

  In float32: rounded to bfloat16 a scale of 1 / 0.9 would be 0.2% too small.
  """
  scale = 1 / jnp.maximum(kept, 2**-16).astype(jnp.float32)
  return (x * scale).astype(x.dtype)

"""Dropout of elements, blocks and examples at rates that may be traced."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from dlcore.tracing import is_zero
from dlcore.typing import Array


def dropout(key: Array, x: Array, rate: float | Array) -> Array:
  """Zeroes each element with probability `rate` and scales the others.

  The mask depends on the key and the shape only, not on the device mesh. It is
  sampled from 16-bit integers, so the expectation is preserved up to 2**-16
  and the rounding of the dtype.

  Args:
    key: random key, used once.
    x: float array with at least one axis.
    rate: in [0, 1], a number or a traced scalar; 1 returns zeros. A Python 0
      returns `x` without any operation.

  Returns:
    An array with the shape and dtype of `x`.

  Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks
  from overfitting".
  """
  if is_zero(rate):
    return x
  *rows, width = x.shape
  # Random words take most of the time, and half a word per element suffices.
  words = jax.random.bits(key, (*rows, (width + 1) // 2), jnp.uint32)
  halves = lax.bitcast_convert_type(words, jnp.uint16)
  halves = halves.reshape(*rows, width + width % 2)[..., :width]
  rate = jnp.asarray(rate, jnp.float32)
  threshold = jnp.round(rate * 2**16).astype(jnp.int32)
  keep = halves.astype(jnp.int32) >= threshold
  return jnp.where(keep, _rescale(x, 1 - rate), 0)


def stochastic_depth(key: Array, x: Array, rate: float | Array) -> Array:
  """Zeroes whole examples with probability `rate` and scales the others.

  Applied to the residual branch of a block, which the example then skips.

  Args:
    key: random key, used once.
    x: float array `[B, ...]`.
    rate: in [0, 1], a number or a traced scalar; 1 returns zeros.

  Returns:
    An array with the shape and dtype of `x`.

  Huang et al. 2016, arXiv:1603.09382, with the scaling of dropout in training.
  """
  if is_zero(rate):
    return x
  shape = (x.shape[0], *[1] * (x.ndim - 1))
  keep = jax.random.uniform(key, shape) >= rate
  return jnp.where(keep, _rescale(x, 1 - jnp.asarray(rate)), 0)


def drop_block(key: Array, x: Array, rate: float | Array, size: int) -> Array:
  """Zeroes square blocks of each channel and scales the other elements.

  Neighboring pixels are correlated, so dropping single pixels regularizes a
  convolution little. A fraction of about `rate` of each channel is dropped.
  The others are scaled by the inverse of their fraction in the batch.

  Args:
    key: random key, used once.
    x: float images `[B, Y, X, C]`.
    rate: in [0, 1], a number or a traced scalar.
    size: rows and columns of a block, clipped to those of the image.

  Returns:
    An array with the shape and dtype of `x`.

  Ghiasi, Lin & Le 2018, arXiv:1810.12890; eq. 1 is the rate of block centers.
  """
  if is_zero(rate):
    return x
  _, rows, columns, _ = x.shape
  size = min(size, rows, columns)
  valid = (rows - size + 1, columns - size + 1)
  gamma = rate / size**2 * (rows * columns) / (valid[0] * valid[1])
  corner = jax.random.uniform(key, (x.shape[0], *valid, x.shape[3])) < gamma
  padding = ((0, 0), (size - 1, size - 1), (size - 1, size - 1), (0, 0))
  # A pixel is dropped if any of the blocks that cover it is.
  dropped = lax.reduce_window(
    corner, False, lax.bitwise_or, (1, size, size, 1), (1, 1, 1, 1), padding
  )
  kept = jnp.mean(~dropped, dtype=jnp.float32)
  return jnp.where(dropped, 0, _rescale(x, kept))


def stochastic_depth_rate(
  max_rate: float | Array, fraction: float
) -> float | Array:
  """Returns the rate of a block, which increases linearly with the depth.

  Args:
    max_rate: rate of the last block, a number or a traced scalar.
    fraction: depth of the block divided by that of the last, in [0, 1].

  Huang et al. 2016, arXiv:1603.09382, eq. 4.
  """
  return max_rate if is_zero(max_rate) else max_rate * fraction


def stochastic_depth_rates(max_rate: float | Array, depth: int) -> Array | None:
  """Returns the rates of all blocks, from 0 in the first to `max_rate`.

  Args:
    max_rate: rate of the last block, a number or a traced scalar.
    depth: number of blocks.

  Returns:
    float32 `[depth]`, or None if `max_rate` is a Python 0.
  """
  if is_zero(max_rate):
    return None
  return max_rate * jnp.arange(depth) / max(depth - 1, 1)


class Dropout(nn.Module):
  """Applies `dropout` in training with a key from the RNG stream "dropout"."""

  rate: float | Array = 0.0

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Drops elements of `x` if `train`, otherwise returns `x`."""
    if not train or is_zero(self.rate):
      return x
    return dropout(self.make_rng("dropout"), x, self.rate)


class StochasticDepth(nn.Module):
  """Applies `stochastic_depth` in training with a key from "dropout"."""

  rate: float | Array = 0.0

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Drops examples of `x` `[B, ...]` if `train`, otherwise returns `x`."""
    if not train or is_zero(self.rate):
      return x
    return stochastic_depth(self.make_rng("dropout"), x, self.rate)


class DropBlock(nn.Module):
  """Applies `drop_block` in training with a key from "dropout"."""

  rate: float | Array = 0.0
  size: int = 7

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Drops blocks of `x` `[B, Y, X, C]` if `train`, otherwise returns `x`."""
    if not train or is_zero(self.rate):
      return x
    return drop_block(self.make_rng("dropout"), x, self.rate, self.size)


def _rescale(x: Array, kept: Array) -> Array:
  """Divides `x` by the fraction `kept`, which preserves the expectation.

  Computed in float32: in bfloat16 a scale of 1 / 0.9 would be 0.2% too small.
  """
  scale = 1 / jnp.maximum(kept, 2**-16).astype(jnp.float32)
  return (x * scale).astype(x.dtype)

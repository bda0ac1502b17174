"""Pooling of images by elementwise arithmetic.

Forward and backward, XLA's windows and their gradient, select-and-scatter, took
14 to 35 times as long as `max_pool` of 2x2 (two cores, jax 0.12.0).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from dlcore.layers.convolution import Padding
from dlcore.typing import Array

Size = tuple[int, int]


def max_pool(
  x: Array, window: Size, *, strides: Size, padding: Padding = "VALID"
) -> Array:
  """Returns the maximum of each window.

  The gradient goes to the first of equal maxima, row by row, as in Flax; a NaN
  is passed on.

  Args:
    x: float `[B, Y, X, C]`.
    window: rows and columns.
    strides: rows and columns from one window to the next.
    padding: "SAME", "VALID" or `((low, high), (low, high))`, with -inf.

  Returns:
    `[B, Y', X', C]`.
  """
  x = _pad(x, window, strides, padding, -jnp.inf)
  if tuple(window) == tuple(strides):
    return _tile_max(_tiles(x, window))
  (size_y, size_x), (stride_y, stride_x) = window, strides
  last_y, last_x = x.shape[1] - size_y + 1, x.shape[2] - size_x + 1
  elements = [
    x[:, i : i + last_y : stride_y, j : j + last_x : stride_x]
    for i in range(size_y)
    for j in range(size_x)
  ]
  return _first_max(elements)[0]


def avg_pool(
  x: Array, window: Size, *, strides: Size, padding: Padding = "VALID"
) -> Array:
  """Returns the mean of each window, in which padding counts as zeros.

  Arguments and result are those of `max_pool`.
  """
  if tuple(window) != tuple(strides):
    # In float32, as below: windows may have many elements.
    wide = nn.avg_pool(x.astype(jnp.float32), window, strides, padding)
    return wide.astype(x.dtype)
  x = _pad(x, window, strides, padding, 0.0)
  # Additions: with a reduction in their place a step of LeNet-5 took about 1.4
  # times as long on CPU (jax 0.10.2, separate runs).
  total = sum(_elements(_tiles(x, window).astype(jnp.float32)))
  return (total / math.prod(window)).astype(x.dtype)


def adaptive_avg_pool(x: Array, size: Size) -> Array:
  """Returns the means of windows that cover images of any size.

  Of n windows over Y rows, window i goes from row floor(i Y / n) up to row
  ceil((i + 1) Y / n). So they overlap where n does not divide Y, and repeat
  rows where n is greater.

  Args:
    x: float `[B, Y, X, C]`.
    size: rows and columns of the result.

  Returns:
    `[B, *size, C]`.
  """
  if x.shape[1:3] == tuple(size):
    return x
  rows, columns = map(_means, x.shape[1:3], size)
  return jnp.einsum(
    "BYXC,IY,JX->BIJC",
    x,
    rows.astype(x.dtype),
    columns.astype(x.dtype),
    precision=lax.Precision.HIGHEST,
  )


def _means(pixels, windows):
  """Returns the matrix `[windows, pixels]` of the shares of the pixels."""
  matrix = np.zeros((windows, pixels), np.float32)
  for i in range(windows):
    first, end = i * pixels // windows, -(-(i + 1) * pixels // windows)
    matrix[i, first:end] = 1 / (end - first)
  return matrix


def _pad(x, window, strides, padding, value):
  if isinstance(padding, str):
    padding = lax.padtype_to_pads(x.shape[1:3], window, strides, padding)
  if not any(map(any, padding)):
    return x
  return jnp.pad(x, ((0, 0), *padding, (0, 0)), constant_values=value)


def _tiles(x, window):
  """Cuts `[B, Y, X, C]` into `[B, Y', window, X', window, C]`."""
  batch, rows, columns, channels = x.shape
  y, x_ = rows // window[0], columns // window[1]
  x = x[:, : y * window[0], : x_ * window[1]]
  return x.reshape(batch, y, window[0], x_, window[1], channels)


@jax.custom_jvp
def _tile_max(tiles):
  return _first_max(_elements(tiles))[0]


@_tile_max.defjvp
def _tile_max_jvp(primals, tangents):
  # One pass over the tiles, also when transposed; and the position of the
  # maximum, a byte a tile, is all that is kept for it.
  (tiles,), (dtiles,) = primals, tangents
  maximum, position = _first_max(_elements(tiles))
  size_y, size_x = tiles.shape[2], tiles.shape[4]
  positions = jnp.arange(size_y * size_x, dtype=position.dtype)
  won = position[:, :, None, :, None] == positions.reshape(size_y, 1, size_x, 1)
  return maximum, jnp.where(won, dtiles, 0).sum((2, 4))


def _elements(tiles):
  _, _, size_y, _, size_x, _ = tiles.shape
  return [tiles[:, :, i, :, j] for i in range(size_y) for j in range(size_x)]


def _first_max(elements):
  """Returns the elementwise maximum of arrays and the first place it is in."""
  maximum, *rest = elements
  dtype = jnp.uint8 if len(elements) <= 256 else jnp.int32
  position = jnp.zeros(maximum.shape, dtype)
  for i, element in enumerate(rest, 1):
    greater = (element > maximum) | (jnp.isnan(element) & ~jnp.isnan(maximum))
    maximum = jnp.where(greater, element, maximum)
    position = jnp.where(greater, dtype(i), position)
  return maximum, position

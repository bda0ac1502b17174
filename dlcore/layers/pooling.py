"""Pooling of images by elementwise operations.

Forward and backward, XLA's `reduce_window` and its gradient, a
select-and-scatter, took 14 to 35 times as long as `max_pool` with 2x2 windows
(two cores, jax 0.12.0).
"""

import math
from typing import Any

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

  The gradient flows to the first of equal maxima in row-major order, as in
  Flax. NaN propagates.

  Args:
    x: float `[B, Y, X, C]`.
    window: rows and columns of the windows.
    strides: strides of the windows.
    padding: "SAME", "VALID" or `((low, high), (low, high))`; pads with -inf.

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
  """Returns the mean of each window, including zeros in the padding.

  Takes the arguments of `max_pool` and returns the same shape.
  """
  if tuple(window) != tuple(strides):
    # In float32, as below, since windows may have many elements.
    pads: Any = padding  # Flax accepts pairs too, unlike its annotation.
    wide = nn.avg_pool(x.astype(jnp.float32), window, strides, pads)
    return wide.astype(x.dtype)
  x = _pad(x, window, strides, padding, 0.0)
  # Additions, not a reduction, with which a step of LeNet-5 took about 1.4
  # times as long on CPU (jax 0.10.2, separate runs).
  total: Any = sum(_elements(_tiles(x, window).astype(jnp.float32)))
  return (total / math.prod(window)).astype(x.dtype)


def adaptive_avg_pool(x: Array, size: Size) -> Array:
  """Averages images of any size over a fixed number of windows.

  With n windows over Y rows, window i covers rows floor(i Y / n) to
  ceil((i + 1) Y / n) - 1. Windows overlap if n does not divide Y, and repeat
  rows if n > Y.

  Args:
    x: float `[B, Y, X, C]`.
    size: rows and columns of the output.

  Returns:
    `[B, *size, C]`.
  """
  if x.shape[1:3] == tuple(size):
    return x
  rows, columns = map(_averaging_matrix, x.shape[1:3], size)
  return jnp.einsum(
    "BYXC,IY,JX->BIJC",
    x,
    rows.astype(x.dtype),
    columns.astype(x.dtype),
    precision=lax.Precision.HIGHEST,
  )


def _averaging_matrix(pixels, windows):
  """Returns `[windows, pixels]`, the weight of each pixel in each window."""
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
  """Reshapes `[B, Y, X, C]` to `[B, Y', window, X', window, C]`."""
  batch, rows, columns, channels = x.shape
  y, x_ = rows // window[0], columns // window[1]
  x = x[:, : y * window[0], : x_ * window[1]]
  return x.reshape(batch, y, window[0], x_, window[1], channels)


@jax.custom_jvp
def _tile_max(tiles):
  return _first_max(_elements(tiles))[0]


@_tile_max.defjvp
def _tile_max_jvp(primals, tangents):
  # One pass over the tiles in both directions. The only residual is the index
  # of the maximum, one byte per tile.
  (tiles,), (dtiles,) = primals, tangents
  maximum, index = _first_max(_elements(tiles))
  size_y, size_x = tiles.shape[2], tiles.shape[4]
  indices = jnp.arange(size_y * size_x, dtype=index.dtype)
  argmax = index[:, :, None, :, None] == indices.reshape(size_y, 1, size_x, 1)
  return maximum, jnp.where(argmax, dtiles, 0).sum((2, 4))


def _elements(tiles):
  _, _, size_y, _, size_x, _ = tiles.shape
  return [tiles[:, :, i, :, j] for i in range(size_y) for j in range(size_x)]


def _first_max(elements):
  """Returns the elementwise maximum of arrays and its first index."""
  maximum, *rest = elements
  dtype = jnp.uint8 if len(elements) <= 256 else jnp.int32
  index = jnp.zeros(maximum.shape, dtype)
  for i, element in enumerate(rest, 1):
    greater = (element > maximum) | (jnp.isnan(element) & ~jnp.isnan(maximum))
    maximum = jnp.where(greater, element, maximum)
    index = jnp.where(greater, dtype(i), index)
  return maximum, index

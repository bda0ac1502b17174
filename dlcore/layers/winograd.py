"""Convolution with 3x3 kernels by few products, for CPU.

F(2x2, 3x3) of Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural
Networks", arXiv:1509.09308: a tile of 4x4 inputs gives 2x2 outputs with 16
products for each pair of channels in place of 36. The transforms multiply by 0,
1 and 1/2 only, so that the rounding error stays near that of a direct sum.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from dlcore.layers.image_chunks import map_chunks, sum_chunks
from dlcore.layers.xla_convolution import Pads, Pair
from dlcore.typing import Array


def convolve(x: Array, kernel: Array, pads: Pads, *, transposed: bool) -> Array:
  """Convolves images with kernels, with strides of 1.

  Args:
    x: float32 `[B, Y, X, C]`.
    kernel: float32 `[3, 3, C, F]`.
    pads: zeros around the images, from 0 to 2.
    transposed: whether the kernels are flipped and map F channels to C, as in
      the gradient of the images.

  Returns:
    Float32 `[B, Y', X', F]`, or from `[B, Y, X, F]` to `[B, Y', X', C]`.
  """
  kernel = _transform_kernel(kernel, flip=transposed)
  kernel = kernel.reshape(16, *kernel.shape[2:])
  product = "ptf,pcf->ptc" if transposed else "ptc,pcf->ptf"

  def convolve_chunk(x: Array) -> Array:
    size_y, size_x = _output_size(x, pads)
    tiles = _transform_input(x, pads)
    products = jnp.einsum(product, tiles.reshape(16, -1, x.shape[-1]), kernel)
    products = products.reshape(*tiles.shape[:-1], -1)
    return _transform_output(products)[:, :size_y, :size_x]

  return map_chunks(convolve_chunk, x, values=math.prod(x.shape[1:]))


def kernel_gradient(x: Array, gradient: Array, pads: Pads) -> Array:
  """Returns the gradient of the kernels of `convolve`.

  Args:
    x: float32 `[B, Y, X, C]`.
    gradient: float32 `[B, Y', X', F]`, the gradient of the output.
    pads: zeros around the images.

  Returns:
    Float32 `[3, 3, C, F]`.
  """
  channels, features = x.shape[-1], gradient.shape[-1]

  def sum_chunk(x: Array, gradient: Array) -> Array:
    tiles = _transform_input(x, pads).reshape(16, -1, channels)
    gradient = _transform_gradient(gradient).reshape(16, -1, features)
    return jnp.einsum("ptc,ptf->pcf", tiles, gradient)

  values = max(math.prod(array.shape[1:]) for array in (x, gradient))
  total = sum_chunks(sum_chunk, x, gradient, values=values)
  total = total.reshape(4, 4, channels, features)
  return _along_both(_transpose_kernel_axis, total)


def _output_size(x: Array, pads: Pads) -> Pair:
  sizes = zip(x.shape[1:3], pads, strict=True)
  size_y, size_x = (size + sum(pad) - 2 for size, pad in sizes)
  return size_y, size_x


def _along_both(transform: Callable, x: Array) -> Array:
  """Transforms the first axis of `[n, n, ...]`, then the second.

  Each step is an array of its own: as one expression for each of 16 values it
  took three times as long to compile.
  """
  for axis in (0, 1):
    rows = (lax.index_in_dim(x, i, axis, False) for i in range(x.shape[axis]))
    x = jnp.stack(transform(*rows), axis)
  return x


def _transform_kernel(kernel: Array, *, flip: bool) -> Array:
  """Maps `[3, 3, C, F]` to `[4, 4, C, F]`, by G of the paper."""

  def transform(a, b, c):
    a, c = (c, a) if flip else (a, c)
    return a, (a + b + c) / 2, (a - b + c) / 2, c

  return _along_both(transform, kernel)


def _transpose_kernel_axis(a, b, c, d):
  """Applies the transpose of G, to the gradient of a transformed kernel."""
  return a + (b + c) / 2, (b - c) / 2, (b + c) / 2 + d


def _transform_input(x: Array, pads: Pads) -> Array:
  """Maps images to tiles `[4, 4, B, Y' / 2, X' / 2, C]`, by B of the paper."""
  tiles = [-(-size // 2) for size in _output_size(x, pads)]
  outer = [
    (low, 2 * count + 2 - size - low)
    for size, count, (low, _) in zip(x.shape[1:3], tiles, pads, strict=True)
  ]
  # The last row or column of the padding may have no tile.
  x = lax.pad(x, 0.0, [(0, 0, 0), *((*pad, 0) for pad in outer), (0, 0, 0)])
  batch, channels = x.shape[0], x.shape[-1]
  x = x.reshape(batch, tiles[0] + 1, 2, tiles[1] + 1, 2, channels)

  def transform(x, axis):
    """Combines rows 0 to 3 of each tile, from pairs along `axis`."""
    first, second = (lax.index_in_dim(x, i, axis + 1, False) for i in (0, 1))
    size = first.shape[axis] - 1
    a, b, c, d = (
      lax.slice_in_dim(part, start, start + size, axis=axis)
      for start in (0, 1)
      for part in (first, second)
    )
    return jnp.stack([a - c, b + c, c - b, b - d])

  return transform(transform(x, 3), 2)


def _transform_output(products: Array) -> Array:
  """Maps tiles `[4, 4, B, Y, X, F]` to `[B, 2Y, 2X, F]`, by A of the paper."""

  def transform(a, b, c, d):
    return a + b + c, b - c - d

  tiles = _along_both(transform, products)
  _, _, batch, size_y, size_x, features = tiles.shape
  pixels = tiles.transpose(2, 3, 0, 4, 1, 5)
  return pixels.reshape(batch, 2 * size_y, 2 * size_x, features)


def _transform_gradient(gradient: Array) -> Array:
  """Applies the transpose of `_transform_output`."""
  batch, size_y, size_x, features = gradient.shape
  even = ((0, 0), (0, size_y % 2), (0, size_x % 2), (0, 0))
  gradient = jnp.pad(gradient, even)
  pixels = gradient.reshape(
    batch, gradient.shape[1] // 2, 2, gradient.shape[2] // 2, 2, features
  )

  def transform(a, b):
    return a, a + b, a - b, -b

  return _along_both(transform, pixels.transpose(2, 4, 0, 1, 3, 5))

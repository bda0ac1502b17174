"""Convolution by products of shifted images and single pixels of the kernels.

Each kernel has one input channel: images have one channel, or the convolution
is depthwise.
"""

import functools
import math

import jax.numpy as jnp
from jax import lax

from dlcore.layers.image_chunks import sum_chunks
from dlcore.layers.xla_convolution import Pads, Pair
from dlcore.typing import Array


def convolve(
  x: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair
) -> Array:
  """Convolves images with kernels of one input channel.

  Args:
    x: `[B, Y, X, C]`.
    kernel: `[KY, KX, 1, F]`, where C is 1 or F.
    strides: strides of the windows, in pixels.
    pads: zeros around the images; negative numbers crop them.
    dilation: dilation of the kernel, in pixels.

  Returns:
    `[B, Y', X', F]`.
  """
  x = _pad(x, pads)
  rows, columns = (
    range(0, taps * step, step)
    for taps, step in zip(kernel.shape[:2], dilation, strict=True)
  )
  stop_y, stop_x = x.shape[1] - rows[-1], x.shape[2] - columns[-1]
  products = (
    x[:, y : y + stop_y : strides[0], x_ : x_ + stop_x : strides[1]]
    * kernel[i, j, 0]
    for i, y in enumerate(rows)
    for j, x_ in enumerate(columns)
  )
  return functools.reduce(jnp.add, products)


def kernel_gradient(
  x: Array,
  gradient: Array,
  *,
  size: Pair,
  strides: Pair,
  pads: Pads,
  dilation: Pair,
) -> Array:
  """Returns the gradient of the kernels of a depthwise convolution.

  The products of all output rows are added, and only their sum is summed over
  the pixels of a row: XLA's loops over channels and columns use vectors, its
  sums over pixels do not.

  Args:
    x: `[B, Y, X, C]`.
    gradient: `[B, Y', X', C]`, the gradient of the output.
    size: rows and columns of a kernel, (KY, KX).
    strides: strides of the windows, in pixels.
    pads: zeros around the images.
    dilation: dilation of the kernel, in pixels.

  Returns:
    `[KY, KX, 1, C]`.
  """
  height, width, channels = gradient.shape[1:]
  extent = (size[0] - 1) * dilation[0] + 1
  last = (width - 1) * strides[1] + 1
  columns = range(0, size[1] * dilation[1], dilation[1])

  def sum_chunk(x: Array, gradient: Array) -> Array:
    x = _pad(x, pads)

    def add_row(y: int, sums: list[Array]) -> list[Array]:
      rows = lax.dynamic_slice_in_dim(x, y * strides[0], extent, 1)
      rows = rows[:, :: dilation[0]]
      row = lax.dynamic_slice_in_dim(gradient, y, 1, 1)
      return [
        total + rows[:, :, j : j + last : strides[1]] * row
        for total, j in zip(sums, columns, strict=True)
      ]

    zeros = jnp.zeros((x.shape[0], size[0], width, channels), x.dtype)
    sums = lax.fori_loop(0, height, add_row, [zeros] * size[1])
    return jnp.stack([total.sum((0, 2)) for total in sums], axis=1)

  values = math.prod((*size, width, channels))
  return sum_chunks(sum_chunk, x, gradient, values=values)[:, :, None]


def _pad(x: Array, pads: Pads) -> Array:
  none = (0, 0, 0)
  zero = jnp.zeros((), x.dtype)
  return lax.pad(x, zero, (none, *((*pad, 0) for pad in pads), none))

"""XLA's convolution of images, its gradients, and the sizes of both."""

from functools import partial

import jax
from jax import lax

from dlcore.typing import Array

Pair = tuple[int, int]
Pads = tuple[Pair, Pair]
"""`((top, bottom), (left, right))` in pixels; negative numbers crop."""


def convolve(
  x: Array,
  kernel: Array,
  strides: Pair,
  pads: Pads,
  dilation: Pair = (1, 1),
  groups: int = 1,
) -> Array:
  """Convolves images `[B, Y, X, C]` with kernels `[KY, KX, C / groups, F]`."""
  return lax.conv_general_dilated(
    x,
    kernel,
    strides,
    pads,
    rhs_dilation=dilation,
    feature_group_count=groups,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


def input_gradient(
  gradient: Array, kernel: Array, shape: tuple[int, ...], **settings
) -> Array:
  """Returns the gradient of images of a shape from that of the output."""
  x = jax.ShapeDtypeStruct(shape, gradient.dtype)
  transpose = jax.linear_transpose(lambda x: convolve(x, kernel, **settings), x)
  return transpose(gradient)[0]


def kernel_gradient(
  x: Array, gradient: Array, shape: tuple[int, ...], **settings
) -> Array:
  """Returns the gradient of kernels of a shape from that of the output."""
  kernel = jax.ShapeDtypeStruct(shape, x.dtype)
  transpose = jax.linear_transpose(partial(convolve, x, **settings), kernel)
  return transpose(gradient)[0]


def output_size(
  x: Array,
  kernel: Array,
  *,
  strides: Pair,
  pads: Pads,
  dilation: Pair = (1, 1),
) -> Pair:
  """Returns the rows and columns of the output."""
  rows, columns = (
    (size + sum(pad) - (taps - 1) * step - 1) // stride + 1
    for size, taps, stride, pad, step in zip(
      x.shape[1:3], kernel.shape[:2], strides, pads, dilation, strict=True
    )
  )
  return rows, columns


def transposed_pads(pads: Pads, size: Pair, dilation: Pair = (1, 1)) -> Pads:
  """Returns the padding of the gradient of the images, for strides of 1.

  Args:
    pads: padding of the images.
    size: rows and columns of a kernel.
    dilation: dilation of the kernel, in pixels.
  """
  (top, bottom), (left, right) = pads
  y, x = ((taps - 1) * step for taps, step in zip(size, dilation, strict=True))
  return (y - top, y - bottom), (x - left, x - right)

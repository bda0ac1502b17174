"""Convolution of images as a primitive of JAX with a lowering for CPU.

A convolution and the gradient of its kernels are differentiated by each other.
Other platforms run the convolutions of XLA.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.layers import winograd, xla_convolution
from dlcore.layers.bilinear_primitive import define, has_replicated_layout
from dlcore.layers.image_chunks import sum_chunks
from dlcore.layers.xla_convolution import Pads, Pair, transposed_pads
from dlcore.typing import Array

MIN_CHANNELS = 32
"""With fewer channels XLA's convolution is as fast."""

MAX_KERNEL = 9
"""Maximum number of pixels of a kernel: each is a copy of the images."""

MIN_CHANNELS_WINOGRAD = 64

MIN_PIXELS = 512
"""Of all outputs of a batch. With fewer, the transform of the kernels takes
longer than the convolution."""


def is_suited(x: Array, kernel: Array, *, strides: Pair, pads: Pads) -> bool:
  """Returns whether `convolve` accepts the arrays and is faster on CPU.

  In place of XLA's, the gradient of the kernels took 0.2 to 0.9 times as long,
  and the convolution of 3x3 and the gradient of its images 0.4 to 0.9 times (64
  to 512 channels, 4 to 56 pixels, two cores with AVX-512, jax 0.10.2 and
  0.12.0).
  """
  if x.dtype != jnp.float32 or kernel.dtype != jnp.float32:
    return False
  if not all(isinstance(size, int) for size in x.shape):  # Symbolic in export.
    return False
  if min(kernel.shape[2:]) < MIN_CHANNELS or x.shape[0] < 2:
    return False
  if math.prod(kernel.shape[:2]) > MAX_KERNEL:
    return False
  for size, pad in zip(kernel.shape[:2], pads, strict=True):
    if not all(0 <= number < size for number in pad):
      return False
  size = xla_convolution.output_size(x, kernel, strides=strides, pads=pads)
  if x.shape[0] * math.prod(size) < MIN_PIXELS:
    return False
  return has_replicated_layout(x, kernel)


def convolve(x: Array, kernel: Array, *, strides: Pair, pads: Pads) -> Array:
  """Convolves images with kernels.

  Args:
    x: float32 `[B, Y, X, C]`.
    kernel: float32 `[KY, KX, C, F]`.
    strides: strides of the windows, in pixels.
    pads: zeros around the images, fewer than the kernel has pixels.

  Returns:
    Float32 `[B, Y', X', F]`.
  """
  return _convolution.bind(
    x, kernel, strides=strides, pads=pads, transposed=False
  )


def _output_shape(x, kernel, *, transposed, **settings):
  size = xla_convolution.output_size(x, kernel, **settings)
  return (x.shape[0], *size, kernel.shape[2 if transposed else 3])


def _xla_convolution(x, kernel, *, transposed, **settings):
  if transposed:
    kernel = lax.rev(kernel, (0, 1)).swapaxes(2, 3)
  return xla_convolution.convolve(x, kernel, **settings)


def _xla_kernel_gradient(x, y, *, size, **settings):
  shape = (*size, x.shape[-1], y.shape[-1])
  return xla_convolution.kernel_gradient(x, y, shape, **settings)


def _cpu_convolution(x, kernel, *, strides, pads, transposed):
  if _fits_winograd(kernel.shape, strides):
    return winograd.convolve(x, kernel, pads, transposed=transposed)
  settings = {"strides": strides, "pads": pads, "transposed": transposed}
  return _xla_convolution(x, kernel, **settings)


def _cpu_kernel_gradient(x, y, *, size, strides, pads):
  if _fits_winograd((*size, x.shape[-1], y.shape[-1]), strides):
    return winograd.kernel_gradient(x, y, pads)
  return _sum_of_products(x, y, size, strides, pads)


def _fits_winograd(kernel, strides) -> bool:
  is_square = (*kernel[:2], *strides) == (3, 3, 1, 1)
  return is_square and min(kernel[2:]) >= MIN_CHANNELS_WINOGRAD


def _sum_of_products(x, y, size, strides, pads):
  """Returns the gradient of the kernels as a matmul for each chunk.

  The input pixels below the kernel are the columns of one operand. The product
  is the faster one if its rows are the smaller dimension.
  """
  channels, features = math.prod(size) * x.shape[-1], y.shape[-1]

  def sum_chunk(x, y):
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    (_, size_y, size_x, _), (stride_y, stride_x) = y.shape, strides
    last_y, last_x = (size_y - 1) * stride_y + 1, (size_x - 1) * stride_x + 1
    pixels = [
      x[:, i : i + last_y : stride_y, j : j + last_x : stride_x]
      for i in range(size[0])
      for j in range(size[1])
    ]
    columns = jnp.concatenate(pixels, axis=-1).reshape(-1, channels)
    rows = y.reshape(-1, features)
    return rows.T @ columns if features < channels else columns.T @ rows

  values = math.prod(y.shape[1:3]) * channels
  total = sum_chunks(sum_chunk, x, y, values=values)
  total = total.T if features < channels else total
  return total.reshape(*size, x.shape[-1], features)


def _convolution_x(y, x, kernel, *, strides, pads, transposed):
  """Returns the gradient of the images from that of the output."""
  if strides != (1, 1):
    return xla_convolution.input_gradient(
      y, kernel, x.aval.shape, strides=strides, pads=pads
    )
  settings = {"strides": strides, "transposed": not transposed}
  settings["pads"] = transposed_pads(pads, kernel.shape[:2])
  return _convolution.bind(y, kernel, **settings)


def _convolution_kernel(y, x, kernel, *, strides, pads, transposed):
  """Returns the gradient of the kernels from that of the output."""
  size = kernel.aval.shape[:2]
  if transposed:
    x, y, pads = y, x, transposed_pads(pads, size)
  return _kernel_gradient.bind(x, y, size=size, strides=strides, pads=pads)


def _kernel_gradient_x(kernel, x, y, *, size, strides, pads):
  """Returns the gradient of the images from that of the gradient."""
  if strides != (1, 1):
    return xla_convolution.input_gradient(
      y, kernel, x.aval.shape, strides=strides, pads=pads
    )
  settings = {"strides": strides, "pads": transposed_pads(pads, size)}
  return _convolution.bind(y, kernel, **settings, transposed=True)


def _kernel_gradient_y(kernel, x, y, *, size, **settings):
  """Returns the gradient of the output's gradient from that of its result."""
  del y, size
  return _convolution.bind(x, kernel, **settings, transposed=False)


def _batch_convolution(arrays, axes, **settings):
  x, kernel = arrays
  if axes[1] is None:
    x = jnp.moveaxis(x, axes[0], 0)
    merged = x.reshape(-1, *x.shape[2:])
    y = _convolution.bind(merged, kernel, **settings)
    return y.reshape(*x.shape[:2], *y.shape[1:]), 0
  return jax.vmap(partial(_xla_convolution, **settings), axes)(x, kernel), 0


def _batch_kernel_gradient(arrays, axes, **settings):
  return jax.vmap(partial(_xla_kernel_gradient, **settings), axes)(*arrays), 0


def _kernel_shape(x, y, *, size, **settings):
  del settings
  return (*size, x.shape[-1], y.shape[-1])


_convolution = define(
  "image_convolution",
  _output_shape,
  xla=_xla_convolution,
  cpu=_cpu_convolution,
  gradients=(_convolution_x, _convolution_kernel),
  batch=_batch_convolution,
)
_kernel_gradient = define(
  "image_convolution_kernel_gradient",
  _kernel_shape,
  xla=_xla_kernel_gradient,
  cpu=_cpu_kernel_gradient,
  gradients=(_kernel_gradient_x, _kernel_gradient_y),
  batch=_batch_kernel_gradient,
)

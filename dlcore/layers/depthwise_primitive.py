"""Depthwise convolution of images as a primitive of JAX, fast on CPU.

A convolution and the gradient of its kernels are differentiated by each other.
Other platforms run the convolutions of XLA.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.layers import shifted_products, xla_convolution
from dlcore.layers.bilinear_primitive import define, has_replicated_layout
from dlcore.layers.xla_convolution import Pads, Pair, transposed_pads
from dlcore.typing import Array

MAX_KERNEL = 49
"""Maximum number of pixels of a kernel: each is a product in the program."""


def is_suited(x: Array, kernel: Array, *, groups: int) -> bool:
  """Returns whether `convolve` accepts the arrays.

  In place of XLA's, the convolution took 0.02 to 0.08 times as long, and the
  gradients of images and kernels 0.1 times (7x7 kernels, 96 to 384 channels, 4
  to 56 pixels, two cores with AVX-512, jax 0.12.0). Each layer compiles 0.3 s
  longer. `experiments/benchmark.py convolutions` measures whole models.
  """
  if x.dtype != jnp.float32 or kernel.dtype != jnp.float32:
    return False
  if not 1 < groups == x.shape[-1] == kernel.shape[-1]:
    return False
  small = math.prod(kernel.shape[:2]) <= MAX_KERNEL
  return small and has_replicated_layout(x, kernel)


def convolve(
  x: Array, kernel: Array, *, strides: Pair, pads: Pads, dilation: Pair
) -> Array:
  """Convolves each channel of images with a kernel of its own.

  Args:
    x: float32 `[B, Y, X, C]`.
    kernel: float32 `[KY, KX, 1, C]`.
    strides: strides of the windows, in pixels.
    pads: zeros around the images, `((top, bottom), (left, right))`.
    dilation: dilation of the kernel, in pixels.

  Returns:
    Float32 `[B, Y', X', C]`.
  """
  return _depthwise.bind(
    x, kernel, strides=strides, pads=pads, dilation=dilation
  )


def _output_shape(x, kernel, **settings):
  size = xla_convolution.output_size(x, kernel, **settings)
  return (x.shape[0], *size, x.shape[-1])


def _xla_convolution(x, kernel, **settings):
  return xla_convolution.convolve(x, kernel, groups=x.shape[-1], **settings)


def _xla_kernel_gradient(x, y, *, size, **settings):
  shape = (*size, 1, x.shape[-1])
  settings["groups"] = x.shape[-1]
  return xla_convolution.kernel_gradient(x, y, shape, **settings)


def _input_gradient(y, x, kernel, *, strides, pads, dilation):
  """Returns the gradient of the images from that of the output."""
  settings = {"strides": strides, "pads": pads, "dilation": dilation}
  if strides == (1, 1):
    settings["pads"] = transposed_pads(pads, kernel.shape[:2], dilation)
    return _depthwise.bind(y, lax.rev(kernel, (0, 1)), **settings)
  return lax.platform_dependent(
    y,
    kernel,
    cpu=_transpose(shifted_products.convolve, x.aval, **settings),
    default=_transpose(_xla_convolution, x.aval, **settings),
  )


def _transpose(convolve, aval, **settings):
  """Returns `(y, kernel) -> x`, linear in `y`."""
  x = jax.ShapeDtypeStruct(aval.shape, aval.dtype)

  def transposed(y, kernel):
    function = partial(convolve, kernel=kernel, **settings)
    return jax.linear_transpose(function, x)(y)[0]

  return transposed


def _depthwise_kernel(y, x, kernel, **settings):
  return _kernel_gradient.bind(x, y, size=kernel.aval.shape[:2], **settings)


def _kernel_gradient_x(kernel, x, y, *, size, **settings):
  del size
  return _input_gradient(y, x, kernel, **settings)


def _kernel_gradient_y(kernel, x, y, *, size, **settings):
  del y, size
  return _depthwise.bind(x, kernel, **settings)


def _batch(xla, cpu, arrays, axes, **settings):
  """Returns the results for batches of images, kernels or both."""
  cpu, xla = (
    jax.vmap(partial(function, **settings), axes) for function in (cpu, xla)
  )
  return lax.platform_dependent(*arrays, cpu=cpu, default=xla), 0


_depthwise = define(
  "depthwise_convolution",
  _output_shape,
  xla=_xla_convolution,
  cpu=shifted_products.convolve,
  gradients=(_input_gradient, _depthwise_kernel),
  batch=partial(_batch, _xla_convolution, shifted_products.convolve),
)
_kernel_gradient = define(
  "depthwise_convolution_kernel_gradient",
  lambda x, y, *, size, **settings: (*size, 1, x.shape[-1]),
  xla=_xla_kernel_gradient,
  cpu=shifted_products.kernel_gradient,
  gradients=(_kernel_gradient_x, _kernel_gradient_y),
  batch=partial(_batch, _xla_kernel_gradient, shifted_products.kernel_gradient),
)

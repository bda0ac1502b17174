"""Convolution of images, in the formulation that is fast on the backend."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax import lax
from jax.custom_derivatives import SymbolicZero

from dlcore.typing import Array

Padding = str | Sequence[tuple[int, int]]


def convolution(
  x: Array,
  kernel: Array,
  *,
  strides: tuple[int, int] = (1, 1),
  padding: Padding = "SAME",
  dilation: tuple[int, int] = (1, 1),
  groups: int = 1,
) -> Array:
  """Slides kernels over images and returns their inner products.

  The result and its derivatives of any order and mode are those of
  `lax.conv_general_dilated`, which computes them on GPU and TPU. On CPU two
  of them are computed otherwise, see `_forward` and `_by_chunks`.

  Args:
    x: `[B, Y, X, C]`.
    kernel: `[KY, KX, C / groups, F]`, of the dtype of `x`.
    strides: of the output, in pixels of the input.
    padding: "SAME", "VALID" or `((low, high), (low, high))`.
    dilation: distance of the elements of the kernel, in pixels.
    groups: number of groups of channels that are convolved apart.

  Returns:
    `[B, Y', X', F]`, of the dtype of `x`.
  """
  if not isinstance(padding, str):
    padding = tuple(map(tuple, padding))
  settings = (tuple(strides), padding, tuple(dilation), groups)
  return _convolution(x, kernel, *settings)


@partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4, 5))
def _convolution(x, kernel, *settings):
  return lax.platform_dependent(
    x,
    kernel,
    cpu=lambda x, kernel: _forward(x, kernel, *settings),
    default=lambda x, kernel: _lax(x, kernel, *settings),
  )


def _convolution_jvp(*arguments):
  *settings, (x, kernel), (dx, dkernel) = arguments
  # Backpropagation transposes these sums, so the formulation of a tangent is
  # the formulation of a gradient, and all else (jvp, vmap) goes on to work.
  terms = []
  if not isinstance(dx, SymbolicZero):
    terms.append(_lax(dx, kernel, *settings))
  if not isinstance(dkernel, SymbolicZero):
    terms.append(
      lax.platform_dependent(
        x,
        dkernel,
        cpu=lambda x, dkernel: _by_chunks(x, dkernel, *settings),
        default=lambda x, dkernel: _lax(x, dkernel, *settings),
      )
    )
  return _convolution(x, kernel, *settings), sum(terms)


_convolution.defjvp(_convolution_jvp, symbolic_zeros=True)


def _lax(x, kernel, strides, padding, dilation, groups):
  return lax.conv_general_dilated(
    x,
    kernel,
    strides,
    padding,
    rhs_dilation=dilation,
    feature_group_count=groups,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


def _forward(x, kernel, strides, padding, dilation, groups):
  """Sums shifted products where there is one channel, and few of them.

  XLA's convolution took 4 to 10 times as long for 28x28 pixels and 16 kernels
  of 3x3 or 6 of 5x5 (two cores, jax 0.12.0).
  """
  size_y, size_x, channels, _ = kernel.shape
  small = channels == 1 and size_y * size_x <= 25 and x.dtype == jnp.float32
  if not small or groups != 1 or dilation != (1, 1):
    return _lax(x, kernel, strides, padding, dilation, groups)
  if isinstance(padding, str):
    sizes = x.shape[1:3], kernel.shape[:2]
    padding = lax.padtype_to_pads(*sizes, strides, padding)
  x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
  stride_y, stride_x = strides
  last_y, last_x = x.shape[1] - size_y + 1, x.shape[2] - size_x + 1
  y = sum(
    x[:, i : i + last_y : stride_y, j : j + last_x : stride_x] * kernel[i, j, 0]
    for i in range(size_y)
    for j in range(size_x)
  )
  # Fused with the pooling that follows, 6 kernels of 5x5 took 2 to 3 times as
  # long forward with jax 0.12; it made no clear difference elsewhere.
  return lax.optimization_barrier(y)


def _by_chunks(x, kernel, *settings):
  """Convolves some images at a time: fast when transposed in the kernel.

  XLA computes the gradient of a kernel as a convolution whose inner products
  run over all pixels of all images; on CPU they fall out of the cache. Chunks
  of 2,048 pixels and more were 0.8 to 3.1 times as fast, median 1.8, on 12
  shapes of 7x7 to 112x112 pixels and 1 to 128 channels (two cores, jax
  0.12.0); the loss was at 6 channels and 5x5, and fewer than 4 images lost.
  A chunk takes every n-th image, so that a batch over devices stays there.
  """
  batch, rows, columns, channels = x.shape
  wanted = min(16, batch // 4, batch * rows * columns // 2048)
  count = math.gcd(batch, 1 << max(wanted.bit_length() - 1, 0))
  if count == 1:
    return _lax(x, kernel, *settings)
  x = x.reshape(batch // count, count, rows, columns, channels)
  chunks = [_lax(x[:, i], kernel, *settings) for i in range(count)]
  y = jnp.stack(chunks, axis=1)
  return y.reshape(batch, *y.shape[2:])


class Conv(nn.Module):
  """Convolves images with learned kernels; has the parameters of Flax's Conv.

  Attributes:
    features: number of kernels, F.
    kernel_size: rows and columns, (KY, KX).
    use_bias: whether to add a learned number to each feature.
    dtype: of the arithmetic; None takes that of input and parameters.
    param_dtype: of the parameters.
    kernel_init: `(key, shape, dtype) -> array`, as `bias_init`.
  """

  features: int
  kernel_size: tuple[int, int]
  strides: tuple[int, int] = (1, 1)
  padding: Padding = "SAME"
  dilation: tuple[int, int] = (1, 1)
  groups: int = 1
  use_bias: bool = True
  dtype: Any = None
  param_dtype: Any = jnp.float32
  kernel_init: Callable[..., Array] = nn.initializers.lecun_normal()
  bias_init: Callable[..., Array] = nn.initializers.zeros_init()

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps `[B, Y, X, C]` to `[B, Y', X', features]`."""
    channels = x.shape[-1] // self.groups
    kernel = self.param(
      "kernel",
      self.kernel_init,
      (*self.kernel_size, channels, self.features),
      self.param_dtype,
    )
    bias = None
    if self.use_bias:
      bias = self.param(
        "bias", self.bias_init, (self.features,), self.param_dtype
      )
    x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
    y = convolution(
      x,
      kernel,
      strides=self.strides,
      padding=self.padding,
      dilation=self.dilation,
      groups=self.groups,
    )
    return y if bias is None else y + bias

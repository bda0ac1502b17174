"""Convolution of images by the fastest formulation for each backend."""

import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax import lax
from jax.custom_derivatives import SymbolicZero

from dlcore.layers import (
  convolution_primitive,
  depthwise_primitive,
  shifted_products,
  xla_convolution,
)
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
  """Convolves images with kernels.

  The result and its derivatives of any order and mode equal those of
  `lax.conv_general_dilated`, which is used on GPU and TPU. On CPU other
  formulations are used where they are faster: see `convolution_primitive` and
  `depthwise_primitive`, which the environment variable
  `DLCORE_CONVOLUTION=xla` turns off, and `_forward`.

  Args:
    x: `[B, Y, X, C]`.
    kernel: `[KY, KX, C / groups, F]` with the dtype of `x`.
    strides: strides of the windows, in pixels.
    padding: "SAME", "VALID" or `((low, high), (low, high))`.
    dilation: dilation of the kernel, in pixels.
    groups: number of groups of channels that are convolved independently.

  Returns:
    `[B, Y', X', F]` with the dtype of `x`.
  """
  window = [
    (size - 1) * step + 1
    for size, step in zip(kernel.shape[:2], dilation, strict=True)
  ]
  if isinstance(padding, str):
    padding = lax.padtype_to_pads(x.shape[1:3], window, strides, padding)
  pads = tuple(map(tuple, padding))
  strides, dilation = tuple(strides), tuple(dilation)
  if os.environ.get("DLCORE_CONVOLUTION") != "xla":
    settings = {"strides": strides, "pads": pads}
    if depthwise_primitive.is_suited(x, kernel, groups=groups):
      settings["dilation"] = dilation
      return depthwise_primitive.convolve(x, kernel, **settings)
    is_plain = (*dilation, groups) == (1, 1, 1)
    if is_plain and convolution_primitive.is_suited(x, kernel, **settings):
      return convolution_primitive.convolve(x, kernel, **settings)
  return _convolution(x, kernel, strides, pads, dilation, groups)


@partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4, 5))
def _convolution(x, kernel, *settings):
  return lax.platform_dependent(
    x,
    kernel,
    cpu=lambda x, kernel: _forward(x, kernel, *settings),
    default=lambda x, kernel: xla_convolution.convolve(x, kernel, *settings),
  )


def _convolution_jvp(*arguments):
  *settings, (x, kernel), (dx, dkernel) = arguments
  terms = []
  if not isinstance(dx, SymbolicZero):
    terms.append(xla_convolution.convolve(dx, kernel, *settings))
  if not isinstance(dkernel, SymbolicZero):
    terms.append(xla_convolution.convolve(x, dkernel, *settings))
  return _convolution(x, kernel, *settings), sum(terms)


_convolution.defjvp(_convolution_jvp, symbolic_zeros=True)


def _forward(x, kernel, *settings):
  """Uses products of shifted images for small kernels of one channel.

  XLA's convolution took 4 to 10 times as long for one channel, 28x28 pixels
  and 16 kernels of 3x3 or 6 of 5x5 (two cores, jax 0.12.0).
  """
  small = math.prod(kernel.shape[:2]) <= 25 and kernel.shape[2] == 1
  *window, groups = settings
  if x.dtype != jnp.float32 or not small or groups != 1:
    return xla_convolution.convolve(x, kernel, *settings)
  # Without the barrier XLA fuses this with a following pooling, and 6 kernels
  # of 5x5 took 2 to 3 times as long (forward, jax 0.12). In other cases the
  # barrier made no clear difference.
  return lax.optimization_barrier(shifted_products.convolve(x, kernel, *window))


class Conv(nn.Module):
  """Convolution layer with the parameters of `flax.linen.Conv`.

  Attributes:
    features: number of kernels, F.
    kernel_size: rows and columns, (KY, KX).
    strides: see `convolution`, as for `padding`, `dilation` and `groups`.
    use_bias: whether to add a bias to each feature.
    dtype: dtype of the computation; None promotes input and parameters.
    param_dtype: dtype of the parameters.
    kernel_init: `(key, shape, dtype) -> array`.
    bias_init: `(key, shape, dtype) -> array`.
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

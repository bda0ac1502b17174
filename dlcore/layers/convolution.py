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
  `lax.conv_general_dilated`, which computes them on GPU and TPU. On CPU some
  of them are computed otherwise, see `_forward`.

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
  return _chosen(x, kernel, *settings, cpu=_forward)


def _convolution_jvp(*arguments):
  *settings, (x, kernel), (dx, dkernel) = arguments
  # Backpropagation transposes these sums, so the formulation of a tangent is
  # the formulation of a gradient, and all else (jvp, vmap) goes on to work.
  terms = []
  if not isinstance(dx, SymbolicZero):
    terms.append(_chosen(dx, kernel, *settings, cpu=_tangent))
  if not isinstance(dkernel, SymbolicZero):
    terms.append(_chosen(x, dkernel, *settings, cpu=_tangent))
  return _convolution(x, kernel, *settings), sum(terms)


_convolution.defjvp(_convolution_jvp, symbolic_zeros=True)


def _chosen(x, kernel, *settings, cpu):
  """Computes by `cpu` there, by XLA's convolution elsewhere."""
  return lax.platform_dependent(
    x,
    kernel,
    cpu=lambda x, kernel: cpu(x, kernel, *settings),
    default=lambda x, kernel: _lax(x, kernel, *settings),
  )


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


def _forward(x, kernel, *settings):
  """Sums shifted products where each kernel sees one channel.

  XLA's convolution took 4 to 10 times as long for one channel, 28x28 pixels
  and 16 kernels of 3x3 or 6 of 5x5 (two cores, jax 0.12.0).
  """
  *_, groups = settings
  few = math.prod(kernel.shape[:2]) <= 25 and kernel.shape[2] == 1
  if x.dtype == jnp.float32 and few and groups == 1:
    # Fused with the pooling that follows, 6 kernels of 5x5 took 2 to 3 times
    # as long forward with jax 0.12; it made no clear difference elsewhere.
    return lax.optimization_barrier(_shifted(x, kernel, *settings))
  if _is_depthwise(x, kernel, groups):
    return _shifted(x, kernel, *settings)
  return _lax(x, kernel, *settings)


def _tangent(x, kernel, *settings):
  """Is linear in the images and in the kernel, of which one is a tangent."""
  if _is_depthwise(x, kernel, settings[-1]):
    return _shifted(x, kernel, *settings)
  return _lax(x, kernel, *settings)


def _is_depthwise(x, kernel, groups) -> bool:
  """Tells whether each channel has a small kernel of its own."""
  alone = 1 < groups == x.shape[-1] == kernel.shape[-1]
  few = math.prod(kernel.shape[:2]) <= 49
  return alone and few and x.dtype == jnp.float32


def _shifted(x, kernel, strides, padding, dilation, groups):
  """Sums the products of shifted images with single elements of the kernels.

  Each kernel sees one channel: the only one, or its own.
  """
  del groups
  (size_y, size_x), (gap_y, gap_x) = kernel.shape[:2], dilation
  reach_y, reach_x = (size_y - 1) * gap_y, (size_x - 1) * gap_x
  if isinstance(padding, str):
    reach = (reach_y + 1, reach_x + 1)
    padding = lax.padtype_to_pads(x.shape[1:3], reach, strides, padding)
  x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
  (stride_y, stride_x), (rows, columns) = strides, x.shape[1:3]
  return sum(
    x[
      :,
      i * gap_y : rows - reach_y + i * gap_y : stride_y,
      j * gap_x : columns - reach_x + j * gap_x : stride_x,
    ]
    * kernel[i, j, 0]
    for i in range(size_y)
    for j in range(size_x)
  )


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

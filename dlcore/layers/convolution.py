"""Convolution of images, with the formulation that is fast on the backend."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax import numpy as jnp

from dlcore.typing import Array

Padding = str | Sequence[tuple[int, int]]


def convolution(
  x, kernel, *, strides=(1, 1), padding="SAME", dilation=(1, 1), groups=1
) -> Array:
  return jax.lax.conv_general_dilated(
    x,
    kernel,
    strides,
    padding,
    rhs_dilation=dilation,
    feature_group_count=groups,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


class Conv(nn.Module):
  """Convolves images with learned kernels: the parameters of Flax's Conv."""

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
    """Maps `[B, Y, X, C]` to `[B, Y', X', features]` in `dtype`."""
    shape = (*self.kernel_size, x.shape[-1] // self.groups, self.features)
    kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
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

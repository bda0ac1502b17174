"""Patch embedding of images."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype

from dlcore.errors import UserError
from dlcore.typing import Array


def extract_patches(x: Array, patch_size: int) -> Array:
  """Splits images into square patches that do not overlap.

  Args:
    x: `[B, Y, X, C]`, where `patch_size` divides Y and X.
    patch_size: rows and columns of a patch, P.

  Returns:
    `[B, Y / P, X / P, P * P * C]`; patches in row-major order, channels last.

  Raises:
    UserError: `patch_size` does not divide the size of the images.
  """
  batch, rows, columns, channels = x.shape
  if rows % patch_size or columns % patch_size:
    raise UserError(
      f"expected image sizes that are multiples of patch_size={patch_size}",
      f"got {rows}x{columns}",
      "resize the images or change patch_size",
    )
  y, x_ = rows // patch_size, columns // patch_size
  x = x.reshape(batch, y, patch_size, x_, patch_size, channels).swapaxes(2, 3)
  return x.reshape(batch, y, x_, patch_size * patch_size * channels)


class PatchEmbed(nn.Module):
  """Linear embedding of patches: a convolution with stride = kernel size.

  Computed as one matrix product; the parameters are those of the convolution.

  Attributes:
    features: width of the embedding, D.
    patch_size: rows and columns of a patch, P.
    dtype: dtype of the computation; parameters are float32.
    kernel_init: `(key, shape, dtype) -> array`.
  """

  features: int
  patch_size: int
  dtype: Any = jnp.float32
  kernel_init: Callable[..., Array] = nn.initializers.lecun_normal()

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps `[B, Y, X, C]` to `[B, Y / P, X / P, features]`."""
    shape = (self.patch_size, self.patch_size, x.shape[-1], self.features)
    kernel = self.param("kernel", self.kernel_init, shape)
    bias = self.param("bias", nn.initializers.zeros_init(), shape[-1:])
    x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
    return (
      extract_patches(x, self.patch_size) @ kernel.reshape(-1, self.features)
      + bias
    )

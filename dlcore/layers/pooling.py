"""Pooling of images by elementwise arithmetic, fast on every backend."""

from flax import linen as nn

from dlcore.typing import Array


def max_pool(x, window, *, strides, padding="VALID") -> Array:
  return nn.max_pool(x, window, strides=strides, padding=padding)


def avg_pool(x, window, *, strides, padding="VALID") -> Array:
  return nn.avg_pool(x, window, strides=strides, padding=padding)

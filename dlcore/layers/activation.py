"""Activations by name."""

from functools import partial

import jax
from flax import linen as nn

ACTIVATIONS = {
  "celu": nn.celu,
  "elu": nn.elu,
  "gelu": nn.gelu,
  "gelu_exact": partial(nn.gelu, approximate=False),
  "identity": lambda x: x,
  "leaky_relu": nn.leaky_relu,
  "mish": jax.nn.mish,
  "relu": nn.relu,
  "selu": nn.selu,
  "sigmoid": nn.sigmoid,
  "silu": nn.silu,
  "softplus": nn.softplus,
  "tanh": nn.tanh,
}
"""Elementwise functions; `gelu` is the approximation by tanh, and `gelu_exact`
the one by the error function (Hendrycks & Gimpel 2016, arXiv:1606.08415)."""

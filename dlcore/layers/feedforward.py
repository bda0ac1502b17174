"""Position-wise feed-forward networks of transformer blocks."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import lookup
from dlcore.layers.activation import ACTIVATIONS
from dlcore.layers.dropout import Dropout
from dlcore.typing import Array


class FeedForward(nn.Module):
  """Two dense layers with an activation in between.

  Vaswani et al. 2017, arXiv:1706.03762, eq. 2.

  Attributes:
    mlp_dim: width of the hidden layer, F.
    activation: a key of `ACTIVATIONS`.
    use_bias: whether the layers have biases.
    dropout: dropout rate after the activation, a number or a traced scalar.
    dtype: dtype of the computation; parameters are float32.
    kernel_init: initializer of the kernels.
    out_init: initializer of the output kernel; None means `kernel_init`.
  """

  mlp_dim: int
  activation: str = "gelu"
  use_bias: bool = True
  dropout: float | Array = 0.0
  dtype: Any = jnp.float32
  kernel_init: Callable[..., Array] = nn.initializers.lecun_normal()
  out_init: Callable[..., Array] | None = None

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Maps `[B, T, D]` to `[B, T, D]`."""
    activation = lookup(ACTIVATIONS, self.activation, "activation")
    y = activation(_dense(self, self.mlp_dim, "in")(x))
    y = Dropout(self.dropout, name="dropout")(y, train=train)
    return _dense(self, x.shape[-1], "out")(y)


class GatedFeedForward(nn.Module):
  """Feed-forward network with a gated hidden layer (GLU variants).

  Shazeer 2020, arXiv:2002.05202; with silu this is SwiGLU, as in Llama.

  Attributes: see `FeedForward`.
  """

  mlp_dim: int
  activation: str = "silu"
  use_bias: bool = False
  dropout: float | Array = 0.0
  dtype: Any = jnp.float32
  kernel_init: Callable[..., Array] = nn.initializers.lecun_normal()
  out_init: Callable[..., Array] | None = None

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Maps `[B, T, D]` to `[B, T, D]`."""
    activation = lookup(ACTIVATIONS, self.activation, "activation")
    gate = activation(_dense(self, self.mlp_dim, "gate")(x))
    y = gate * _dense(self, self.mlp_dim, "in")(x)
    y = Dropout(self.dropout, name="dropout")(y, train=train)
    return _dense(self, x.shape[-1], "out")(y)


def _dense(module, features: int, name: str) -> nn.Dense:
  out_init = module.out_init if name == "out" else None
  return nn.Dense(
    features,
    use_bias=module.use_bias,
    dtype=module.dtype,
    kernel_init=out_init or module.kernel_init,
    name=name,
  )

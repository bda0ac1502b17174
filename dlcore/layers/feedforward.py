"""The dense layers between two attentions, applied to each token alone."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import lookup
from dlcore.layers.activation import ACTIVATIONS
from dlcore.layers.dropout import Dropout
from dlcore.typing import Array


class FeedForward(nn.Module):
  """Widens, applies an activation, and narrows again.

  Vaswani et al. 2017, arXiv:1706.03762, eq. 2.

  Attributes:
    mlp_dim: width between the two layers, F.
    activation: a name of `ACTIVATIONS`.
    use_bias: whether the layers have biases.
    dropout: rate after the activation, a number or a traced scalar.
    dtype: of the arithmetic; parameters are float32.
    kernel_init: of both kernels.
    out_init: of the second one; None is as `kernel_init`.
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
  """Widens twice, lets one of them gate the other, and narrows again.

  Shazeer 2020, arXiv:2002.05202; with silu it is the SwiGLU of Llama.

  Attributes are those of `FeedForward`.
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
  own_init = module.out_init if name == "out" else None
  return nn.Dense(
    features,
    use_bias=module.use_bias,
    dtype=module.dtype,
    kernel_init=own_init or module.kernel_init,
    name=name,
  )

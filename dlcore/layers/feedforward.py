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
    y = self._hidden(x)
    y = Dropout(self.dropout, name="dropout")(y, train=train)
    return self._dense(x.shape[-1], "out", self.out_init)(y)

  def _hidden(self, x: Array) -> Array:
    """Maps `[B, T, D]` to the hidden layer, `[B, T, F]`."""
    activation = lookup(ACTIVATIONS, self.activation, "activation")
    return activation(self._dense(self.mlp_dim, "in")(x))

  def _dense(
    self, features: int, name: str, kernel_init: Callable | None = None
  ) -> nn.Dense:
    return nn.Dense(
      features,
      use_bias=self.use_bias,
      dtype=self.dtype,
      kernel_init=kernel_init or self.kernel_init,
      name=name,
    )


class GatedFeedForward(FeedForward):
  """Feed-forward network with a gated hidden layer (GLU variants).

  Shazeer 2020, arXiv:2002.05202; with silu this is SwiGLU, as in Llama.

  Attributes: see `FeedForward`.
  """

  activation: str = "silu"
  use_bias: bool = False

  def _hidden(self, x: Array) -> Array:
    activation = lookup(ACTIVATIONS, self.activation, "activation")
    gate = activation(self._dense(self.mlp_dim, "gate")(x))
    return gate * self._dense(self.mlp_dim, "in")(x)

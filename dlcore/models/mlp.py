"""The multilayer perceptron."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import lookup
from dlcore.layers import ACTIVATIONS, INITIALIZERS, Dropout, remat
from dlcore.models.checks import at_least, rate
from dlcore.typing import Array


class MLP(nn.Module):
  """Alternates dense layers and an activation, and ends in a linear head.

  Rumelhart, Hinton & Williams 1986, "Learning representations by
  back-propagating errors".

  Attributes:
    num_classes: width of the output (1 in regression).
    widths: of the hidden layers; `()` is linear regression.
    activation: a name of `ACTIVATIONS`.
    initializer: a name of `INITIALIZERS`, for the kernels.
    dropout: rate after each hidden layer, a number or a traced scalar.
    remat: whether the backward pass computes layers again, to save memory.
    dtype: of the arithmetic; parameters and output are float32.
  """

  num_classes: int
  widths: tuple[int, ...] = (128, 128)
  activation: str = "relu"
  initializer: str = "he"
  dropout: float | Array = 0.0
  remat: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Maps `[B, ...]`, flattened, to float32 `[B, num_classes]`."""
    at_least(1, num_classes=self.num_classes, widths=self.widths)
    rate(dropout=self.dropout)
    activation = lookup(ACTIVATIONS, self.activation, "activation")
    kernel_init = lookup(INITIALIZERS, self.initializer, "initializer")

    def hidden(self, x, i: int, width: int):
      x = nn.Dense(
        width, dtype=self.dtype, kernel_init=kernel_init, name=f"dense_{i}"
      )(x)
      x = activation(x)
      return Dropout(self.dropout, name=f"dropout_{i}")(x, train=train)

    x = x.reshape(x.shape[0], -1).astype(self.dtype)
    for i, width in enumerate(self.widths):
      layer = partial(hidden, i=i, width=width)
      x = remat(layer, self.remat)(self, x)
    x = nn.Dense(self.num_classes, dtype=self.dtype, name="head")(x)
    return x.astype(jnp.float32)

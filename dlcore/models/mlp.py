"""The multilayer perceptron."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import lookup
from dlcore.layers import ACTIVATIONS, INITIALIZERS, Dropout, remat
from dlcore.models import checks
from dlcore.models.common import flat, logits, noted
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
    head: "classifier", or None for what leaves the last hidden layer.
    remat: whether the backward pass computes layers again, to save memory.
    dtype: of the arithmetic; parameters and output are float32.
  """

  num_classes: int | None = None
  widths: tuple[int, ...] = (128, 128)
  activation: str = "relu"
  initializer: str = "he"
  dropout: float | Array = 0.0
  head: str | None = "classifier"
  remat: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, *, train: bool, intermediates: bool = False):
    """Maps floats `[B, ...]`, flattened, to float32 `[B, num_classes]`.

    Without a head the result is `[B, D]`. With `intermediates` a dict goes
    with it: `hidden_states`, the input and what leaves each hidden layer.
    """
    checks.settings(self)
    checks.at_least(1, widths=self.widths)
    checks.head(self, "classifier")
    checks.floats(x)
    activation = lookup(ACTIVATIONS, self.activation, "activation")
    kernel_init = lookup(INITIALIZERS, self.initializer, "initializer")

    def hidden(self, x, i: int, width: int):
      x = nn.Dense(
        width, dtype=self.dtype, kernel_init=kernel_init, name=f"dense_{i}"
      )(x)
      x = activation(x)
      return Dropout(self.dropout, name=f"dropout_{i}")(x, train=train)

    states = [flat(x).astype(self.dtype)]
    first = "dense_0" if self.widths else "head"
    checks.inputs(self, states[0].shape[-1], first)
    for i, width in enumerate(self.widths):
      layer = partial(hidden, i=i, width=width)
      states.append(remat(layer, self.remat)(self, states[-1]))
    output = states[-1]
    if self.head is not None:
      output = logits(self, self.num_classes)(output)
    return noted(output, states, intermediates)

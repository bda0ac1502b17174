"""The multilayer perceptron."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import lookup
from dlcore.layers import ACTIVATIONS, INITIALIZERS, Dropout, remat
from dlcore.models.field_checks import check_at_least, check_fields, check_head
from dlcore.models.input_checks import check_float, check_input_size
from dlcore.models.output_layers import (
  flatten,
  output_layer,
  with_intermediates,
)
from dlcore.typing import Array


class MLP(nn.Module):
  """Maps inputs to logits by dense layers with activations.

  Rumelhart, Hinton & Williams 1986, "Learning representations by
  back-propagating errors".

  Attributes:
    num_classes: number of classes; 1 in regression.
    widths: widths of the hidden layers; `()` is a linear model.
    activation: a key of `ACTIVATIONS`.
    initializer: a key of `INITIALIZERS`, for the kernels.
    dropout: dropout rate after each hidden layer, a number or a traced scalar.
    head: "classifier", or None to return the last hidden layer.
    remat: whether to rematerialize layers in the backward pass.
    dtype: dtype of the computation; parameters and logits are float32.
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
    """Maps floats `[B, ...]`, which it flattens, to float32 `[B, num_classes]`.

    Without a head, returns `[B, D]`. With `intermediates`, returns a pair of
    the output and a dict: `hidden_states`, the input and the output of each
    hidden layer.
    """
    check_fields(self)
    check_at_least(self, 1, "widths")
    check_head(self, "classifier")
    check_float(x)
    activation = lookup(ACTIVATIONS, self.activation, "activation")
    kernel_init = lookup(INITIALIZERS, self.initializer, "initializer")

    def hidden(self, x, i: int, width: int):
      x = nn.Dense(
        width, dtype=self.dtype, kernel_init=kernel_init, name=f"dense_{i}"
      )(x)
      x = activation(x)
      return Dropout(self.dropout, name=f"dropout_{i}")(x, train=train)

    states = [flatten(x).astype(self.dtype)]
    first = "dense_0" if self.widths else "head"
    check_input_size(self, states[0].shape[-1], first)
    for i, width in enumerate(self.widths):
      layer = partial(hidden, i=i, width=width)
      states.append(remat(layer, self.remat)(self, states[-1]))
    output = states[-1]
    if self.head is not None:
      output = output_layer(self, self.num_classes)(output)
    return with_intermediates(output, states, intermediates)

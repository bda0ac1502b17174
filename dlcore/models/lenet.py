"""LeNet-5, a convolutional network for digits."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import lookup
from dlcore.layers import ACTIVATIONS, INITIALIZERS, Conv, avg_pool
from dlcore.models.field_checks import check_fields, check_head
from dlcore.models.input_checks import check_images, check_input_size
from dlcore.models.output_layers import (
  flatten,
  output_layer,
  with_intermediates,
)
from dlcore.typing import Array


class LeNet5(nn.Module):
  """Maps images to logits by two convolutions and three dense layers.

  LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to
  document recognition". Differences from the paper: the first convolution pads
  28x28 images with zeros instead of taking 32x32 images; the second convolution
  reads all six channels instead of subsets; subsampling has no parameters; tanh
  is not scaled; the output layer is linear instead of radial basis functions.
  For images smaller than 12x12 the second convolution pads too. With 28x28x1
  images there are 61,706 parameters.

  Attributes:
    num_classes: number of classes; 1 in regression.
    activation: a key of `ACTIVATIONS`.
    initializer: a key of `INITIALIZERS`, for the kernels.
    head: "classifier", or None to return features.
    dtype: dtype of the computation; parameters and logits are float32.
  """

  num_classes: int | None = None
  activation: str = "tanh"
  initializer: str = "lecun"
  head: str | None = "classifier"
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, *, train: bool, intermediates: bool = False):
    """Maps images `[B, Y, X, C]` to float32 `[B, num_classes]`.

    Without a head, returns the last feature maps `[B, Y', X', D]` and their
    average `[B, D]`. With `intermediates`, returns a pair of the output and a
    dict: `hidden_states`, the images and the output of each convolution.
    """
    del train  # No layer depends on it.
    check_fields(self)
    check_head(self, "classifier")
    check_images(x, min_size=4)
    activation = lookup(ACTIVATIONS, self.activation, "activation")
    options = {
      "dtype": self.dtype,
      "kernel_init": lookup(INITIALIZERS, self.initializer, "initializer"),
    }
    conv = partial(Conv, kernel_size=(5, 5), **options)
    dense = partial(nn.Dense, **options)
    halve = partial(avg_pool, window=(2, 2), strides=(2, 2))

    states = [x.astype(self.dtype)]
    states.append(activation(halve(conv(6, name="conv_0")(states[-1]))))
    padding = "VALID" if min(states[-1].shape[1:3]) >= 6 else "SAME"
    second = conv(16, padding=padding, name="conv_1")
    states.append(activation(halve(second(states[-1]))))
    x = states[-1]
    if self.head is None:
      return with_intermediates((x, x.mean((1, 2))), states, intermediates)
    x = flatten(x)
    check_input_size(self, x.shape[-1], "dense_0")
    x = activation(dense(120, name="dense_0")(x))
    x = activation(dense(84, name="dense_1")(x))
    kernel_init = options["kernel_init"]
    x = output_layer(self, self.num_classes, kernel_init=kernel_init)(x)
    return with_intermediates(x, states, intermediates)

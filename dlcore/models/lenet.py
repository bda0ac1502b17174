"""LeNet-5."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import lookup
from dlcore.layers import ACTIVATIONS, INITIALIZERS, Conv, avg_pool
from dlcore.models.checks import at_least, images
from dlcore.typing import Array


class LeNet5(nn.Module):
  """Reads digits with two convolutions and three dense layers.

  LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to
  document recognition". Where it differs: zeros around the image inside the
  first convolution take the place of the 32x32 field around a 28x28 image;
  the second convolution sees all six maps, not a table of some; subsampling
  has no parameters; tanh is unscaled; the output is linear for a softmax, not
  radial basis functions. Images below 12x12 get zeros around the second
  convolution too. 28x28x1 images make 61,706 parameters.

  Attributes:
    num_classes: width of the output (1 in regression).
    activation: a name of `ACTIVATIONS`.
    initializer: a name of `INITIALIZERS`, for the kernels.
    dtype: of the arithmetic; parameters and output are float32.
  """

  num_classes: int
  activation: str = "tanh"
  initializer: str = "lecun"
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Maps images `[B, Y, X, C]` to float32 `[B, num_classes]`."""
    del train  # The same in training.
    at_least(1, num_classes=self.num_classes)
    images(x, minimum=4)
    activation = lookup(ACTIVATIONS, self.activation, "activation")
    numerics = {
      "dtype": self.dtype,
      "kernel_init": lookup(INITIALIZERS, self.initializer, "initializer"),
    }
    conv = partial(Conv, kernel_size=(5, 5), **numerics)
    dense = partial(nn.Dense, **numerics)
    halve = partial(avg_pool, window=(2, 2), strides=(2, 2))

    x = x.astype(self.dtype)
    x = activation(halve(conv(6, name="conv_0")(x)))
    padding = "VALID" if min(x.shape[1:3]) >= 6 else "SAME"
    x = activation(halve(conv(16, padding=padding, name="conv_1")(x)))
    x = x.reshape(x.shape[0], -1)
    x = activation(dense(120, name="dense_0")(x))
    x = activation(dense(84, name="dense_1")(x))
    return dense(self.num_classes, name="head")(x).astype(jnp.float32)

"""LeNet-5."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import lookup
from dlcore.layers import ACTIVATIONS, INITIALIZERS, Conv, avg_pool
from dlcore.models import checks
from dlcore.models.common import flat, logits, noted
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
    head: "classifier", or None to return the features.
    dtype: of the arithmetic; parameters and output are float32.
  """

  num_classes: int | None = None
  activation: str = "tanh"
  initializer: str = "lecun"
  head: str | None = "classifier"
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, *, train: bool, intermediates: bool = False):
    """Maps images `[B, Y, X, C]` to float32 `[B, num_classes]`.

    Without a head the result is the pair of the last maps `[B, Y', X', D]` and
    their average `[B, D]`. With `intermediates` a dict goes with it:
    `hidden_states`, the images and what leaves each convolution.
    """
    del train  # The same in training.
    checks.settings(self)
    checks.head(self, "classifier")
    checks.images(x, minimum=4)
    activation = lookup(ACTIVATIONS, self.activation, "activation")
    numerics = {
      "dtype": self.dtype,
      "kernel_init": lookup(INITIALIZERS, self.initializer, "initializer"),
    }
    conv = partial(Conv, kernel_size=(5, 5), **numerics)
    dense = partial(nn.Dense, **numerics)
    halve = partial(avg_pool, window=(2, 2), strides=(2, 2))

    states = [x.astype(self.dtype)]
    states.append(activation(halve(conv(6, name="conv_0")(states[-1]))))
    padding = "VALID" if min(states[-1].shape[1:3]) >= 6 else "SAME"
    second = conv(16, padding=padding, name="conv_1")
    states.append(activation(halve(second(states[-1]))))
    x = states[-1]
    if self.head is None:
      return noted((x, x.mean((1, 2))), states, intermediates)
    x = flat(x)
    checks.inputs(self, x.shape[-1], "dense_0")
    x = activation(dense(120, name="dense_0")(x))
    x = activation(dense(84, name="dense_1")(x))
    kernel_init = numerics["kernel_init"]
    x = logits(self, self.num_classes, kernel_init=kernel_init)(x)
    return noted(x, states, intermediates)

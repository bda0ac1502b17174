"""A plain convolutional network: stages of convolutions and pooling."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import check_choice, lookup
from dlcore.layers import (
  ACTIVATIONS,
  INITIALIZERS,
  Conv,
  Dropout,
  avg_pool,
  max_pool,
  remat,
)
from dlcore.models.batch_norm import make_batch_norm
from dlcore.models.field_checks import (
  check_at_least,
  check_conv_stages,
  check_fields,
  check_head,
)
from dlcore.models.input_checks import check_images, check_input_size
from dlcore.models.output_layers import (
  flatten,
  output_layer,
  with_intermediates,
)
from dlcore.typing import Array

POOLINGS = {"avg": avg_pool, "max": max_pool}


class CNN(nn.Module):
  """Maps images to logits by stages of convolutions, each ending in pooling.

  A layer consists of convolution, pooling (in the last layer of a stage), batch
  norm and activation. Pooling comes first because it reduces the work of the
  other two to a quarter.

  Attributes:
    num_classes: number of classes; 1 in regression.
    stages: numbers of channels of the convolutions of each stage.
    kernel_size: rows and columns of the kernels.
    stage_pooling: "max" or "avg", over windows of 2x2 at the end of a stage.
    batch_norm: whether to use batch norm; convolutions then have no bias.
    activation: a key of `ACTIVATIONS`.
    initializer: a key of `INITIALIZERS`, for the kernels.
    pool: input of the dense layers: "flatten", all pixels of the last stage, or
      "mean", their average, which replaces the pooling of the last stage.
    dense: widths of the dense layers before the output layer.
    dropout: dropout rate before the output layer, a number or a traced scalar.
    head: "classifier", or None to return features.
    remat: whether to rematerialize layers in the backward pass.
    dtype: dtype of the computation; parameters and logits are float32.
    axis_name: mapped axis over which batch statistics are averaged.
  """

  num_classes: int | None = None
  stages: tuple[tuple[int, ...], ...] = ((16,), (32,))
  kernel_size: int = 3
  stage_pooling: str = "max"
  batch_norm: bool = True
  activation: str = "relu"
  initializer: str = "he"
  pool: str = "flatten"
  dense: tuple[int, ...] = (64,)
  dropout: float | Array = 0.0
  head: str | None = "classifier"
  remat: bool = False
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x: Array, *, train: bool, intermediates: bool = False):
    """Maps images `[B, Y, X, C]` to float32 `[B, num_classes]`.

    Without a head, returns the output of the last stage `[B, Y', X', D]` and
    its average `[B, D]`. With `intermediates`, returns a pair of the output and
    a dict: `hidden_states`, the images and the output of each stage.
    """
    self._check(x)
    pool = lookup(POOLINGS, self.stage_pooling, "stage_pooling")
    activation = lookup(ACTIVATIONS, self.activation, "activation")
    kernel_init = lookup(INITIALIZERS, self.initializer, "initializer")
    conv = partial(
      Conv,
      kernel_size=(self.kernel_size, self.kernel_size),
      use_bias=not self.batch_norm,
      dtype=self.dtype,
      kernel_init=kernel_init,
    )
    norm = make_batch_norm(self, train=train)

    def convolve(self, x, layer: int, width: int, pooled: bool):
      x = conv(width, name=f"conv_{layer}")(x)
      x = pool(x, (2, 2), strides=(2, 2)) if pooled else x
      x = norm(name=f"norm_{layer}")(x) if self.batch_norm else x
      return activation(x)

    states = [x.astype(self.dtype)]
    layer = 0
    for stage, widths in enumerate(self.stages):
      x = states[-1]
      global_average = self.pool == "mean" and stage == len(self.stages) - 1
      for i, width in enumerate(widths):
        pooled = i == len(widths) - 1 and not global_average
        block = partial(convolve, layer=layer, width=width, pooled=pooled)
        x = remat(block, self.remat)(self, x)
        layer += 1
      states.append(x)
    dense = partial(nn.Dense, dtype=self.dtype, kernel_init=kernel_init)
    output = self._output(states[-1], dense, activation, train)
    return with_intermediates(output, states, intermediates)

  def _output(self, x: Array, dense, activation, train: bool):
    if self.head is None:
      return x, x.mean((1, 2))
    x = x.mean((1, 2)) if self.pool == "mean" else flatten(x)
    check_input_size(self, x.shape[-1], "dense_0" if self.dense else "head")
    for i, width in enumerate(self.dense):
      x = activation(dense(width, name=f"dense_{i}")(x))
    x = Dropout(self.dropout, name="dropout")(x, train=train)
    return output_layer(self, self.num_classes)(x)

  def _check(self, x: Array) -> None:
    check_fields(self)
    check_at_least(self, 1, "stages", "kernel_size", "dense")
    check_conv_stages(self.stages)
    check_choice("pool", self.pool, ("flatten", "mean"))
    check_head(self, "classifier")
    check_images(x, min_size=2 ** (len(self.stages) - (self.pool == "mean")))

"""VGG: 3x3 convolutions, pooling and three dense layers.

Simonyan & Zisserman 2015, arXiv:1409.1556.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.layers import Conv, Dropout, adaptive_avg_pool, max_pool, remat
from dlcore.models.batch_norm import make_batch_norm
from dlcore.models.field_checks import (
  check_at_least,
  check_conv_stages,
  check_fields,
  check_head,
)
from dlcore.models.input_checks import check_images
from dlcore.models.output_layers import (
  flatten,
  output_layer,
  with_intermediates,
)
from dlcore.typing import Array


class VGG(nn.Module):
  """Maps images to logits by stages of convolutions, each ending in pooling.

  For image sizes other than 224x224, as in the paper, the output of the last
  stage is pooled adaptively to `grid`.

  Attributes:
    num_classes: number of classes; 1 in regression.
    stages: numbers of channels of the convolutions of each stage (table 1; the
      default is configuration D, VGG-16).
    batch_norm: whether to use batch norm, unlike the paper. Convolutions have a
      bias in either case.
    grid: rows and columns of the input of the dense layers.
    dense: widths of the dense layers before the output layer.
    dropout: dropout rate after each of them, a number or a traced scalar; 0.5
      in the paper.
    head: "classifier", or None to return features.
    remat: whether to rematerialize stages in the backward pass.
    dtype: dtype of the computation; parameters and logits are float32.
    axis_name: mapped axis over which batch statistics are averaged.
  """

  num_classes: int | None = None
  stages: tuple[tuple[int, ...], ...] = (
    (64, 64),
    (128, 128),
    (256, 256, 256),
    (512, 512, 512),
    (512, 512, 512),
  )
  batch_norm: bool = False
  grid: int = 7
  dense: tuple[int, ...] = (4096, 4096)
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
    states = [x.astype(self.dtype)]
    first = 0
    for widths in self.stages:
      run = partial(VGG._stage, first=first, widths=widths, train=train)
      states.append(remat(run, self.remat)(self, states[-1]))
      first += len(widths)
    output = self._output(states[-1], train)
    return with_intermediates(output, states, intermediates)

  def _stage(self, x: Array, first: int, widths: tuple[int, ...], train: bool):
    norm = make_batch_norm(self, train=train)
    for i, width in enumerate(widths, first):
      x = Conv(
        width,
        kernel_size=(3, 3),
        padding=((1, 1), (1, 1)),
        dtype=self.dtype,
        kernel_init=nn.initializers.he_normal(),
        name=f"conv_{i}",
      )(x)
      if self.batch_norm:
        x = norm(name=f"norm_{i}")(x)
      x = nn.relu(x)
    return max_pool(x, (2, 2), strides=(2, 2))

  def _output(self, x: Array, train: bool):
    if self.head is None:
      return x, x.mean((1, 2))
    initializer = nn.initializers.normal(0.01)
    dense = partial(nn.Dense, dtype=self.dtype, kernel_init=initializer)
    x = adaptive_avg_pool(x, (self.grid, self.grid))
    x = flatten(x)
    for i, width in enumerate(self.dense):
      x = nn.relu(dense(width, name=f"dense_{i}")(x))
      x = Dropout(self.dropout, name=f"dropout_{i}")(x, train=train)
    return output_layer(self, self.num_classes, kernel_init=initializer)(x)

  def _check(self, x: Array) -> None:
    check_fields(self)
    check_at_least(self, 1, "stages", "grid", "dense")
    check_conv_stages(self.stages)
    check_head(self, "classifier")
    check_images(x, min_size=2 ** len(self.stages))

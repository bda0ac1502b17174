"""VGG: nothing but 3x3 convolutions, pooling and three dense layers.

Simonyan & Zisserman 2015, arXiv:1409.1556.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.layers import Conv, Dropout, adaptive_avg_pool, max_pool, remat
from dlcore.models import checks
from dlcore.models.common import batch_norm, flat, logits, noted
from dlcore.typing import Array


class VGG(nn.Module):
  """Maps images to logits; halves them after each stage of convolutions.

  Images of another size than the paper's 224x224 leave the last stage in
  another size than 7x7; they are then averaged, or repeated, to `grid`.

  Attributes:
    num_classes: width of the output (1 in regression).
    stages: channels of the convolutions of each stage (table 1: the default
      is configuration D, VGG-16).
    batch_norm: whether to normalise after each convolution, which the paper
      does not; the convolutions have a bias all the same.
    grid: rows and columns that the dense layers see.
    dense: widths of the dense layers before the output.
    dropout: rate after each of these, a number or a traced scalar; 0.5 in the
      paper.
    head: "classifier", or None to return the features.
    remat: whether the backward pass computes stages again, to save memory.
    dtype: of the arithmetic; parameters and output are float32.
    axis_name: of the mapped axis that batch statistics are averaged over.
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

    Without a head the result is the pair of the last stage's output
    `[B, Y', X', D]` and its average `[B, D]`. With `intermediates` a dict goes
    with it: `hidden_states`, the images and what leaves each stage.
    """
    self._check(x)
    states = [x.astype(self.dtype)]
    first = 0
    for widths in self.stages:
      run = partial(VGG._stage, first=first, widths=widths, train=train)
      states.append(remat(run, self.remat)(self, states[-1]))
      first += len(widths)
    output = self._output(states[-1], train)
    return noted(output, states, intermediates)

  def _stage(self, x: Array, first: int, widths: tuple[int, ...], train: bool):
    norm = batch_norm(self, train=train)
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
    x = flat(x)
    for i, width in enumerate(self.dense):
      x = nn.relu(dense(width, name=f"dense_{i}")(x))
      x = Dropout(self.dropout, name=f"dropout_{i}")(x, train=train)
    return logits(self, self.num_classes, kernel_init=initializer)(x)

  def _check(self, x: Array) -> None:
    checks.settings(self)
    checks.at_least(
      1,
      stages=self.stages,
      grid=self.grid,
      dense=self.dense,
    )
    checks.stages(self.stages)
    checks.head(self, "classifier")
    checks.images(x, minimum=2 ** len(self.stages))

"""An ensemble of multilayer perceptrons with a linear path, for tables."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dlcore.layers import Dropout
from dlcore.models.field_checks import check_at_least, check_fields, check_head
from dlcore.models.input_checks import check_float, check_input_size
from dlcore.models.mlp import MLP
from dlcore.models.output_layers import (
  flatten,
  output_layer,
  with_intermediates,
)
from dlcore.typing import Array

CLIP = 3.0
"""Deviations beyond which numbers are compressed."""


class Tabular(nn.Module):
  """Maps features to logits by a linear layer plus the mean of several MLPs.

  A linear path as Cheng et al. 2016, arXiv:1606.07792. Each row of a training
  batch is seen by one of the MLPs, chosen at random, so that these differ as
  the members of an ensemble do; evaluation averages their logits. The MLPs see
  the numbers with heavy tails compressed, and their periodic embeddings
  (Gorishniy et al. 2022, arXiv:2203.05556; with cosines and phases as in
  Holzmueller et al. 2024, arXiv:2407.04491).

  Attributes:
    num_classes: number of classes; 1 in regression.
    widths: widths of the hidden layers of each MLP; `()` is a linear model.
    members: number of MLPs.
    numbers: positions of the features that are compressed and embedded.
    linear_clip: as `CLIP`, for the linear layer; 0 for linear.
    frequencies: of the embedding of each number; 0 for no embeddings.
    frequency_scale: standard deviation of the initial frequencies, in periods
      per unit.
    embedding_dim: width of the embedding of each number.
    activation: a key of `ACTIVATIONS`.
    initializer: a key of `INITIALIZERS`, for the kernels of the MLPs.
    dropout: dropout rate after each hidden layer, a number or a traced scalar.
    input_dropout: dropout rate of the inputs of the MLPs.
    head: "classifier", or None to return the last hidden layers, side by side.
    remat: whether to rematerialize layers in the backward pass.
    dtype: dtype of the computation; parameters and logits are float32.
  """

  num_classes: int | None = None
  widths: tuple[int, ...] = (128, 128)
  members: int = 1
  numbers: tuple[int, ...] = ()
  linear_clip: float = 0.0
  frequencies: int = 16
  frequency_scale: float = 0.1
  embedding_dim: int = 4
  activation: str = "relu"
  initializer: str = "he"
  dropout: float | Array = 0.0
  input_dropout: float | Array = 0.0
  head: str | None = "classifier"
  remat: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, *, train: bool, intermediates: bool = False):
    """Maps floats `[B, ...]`, which it flattens, to float32 `[B, num_classes]`.

    Without a head, returns `[B, D]`. With `intermediates`, returns a pair of
    the output and a dict: `hidden_states`, the input and the last hidden layers
    `[B, D]`.
    """
    check_fields(self)
    check_at_least(self, 1, "widths", "members", "embedding_dim")
    check_at_least(self, 0, "numbers", "frequencies")
    check_head(self, "classifier")
    check_float(x)
    x = jnp.asarray(flatten(x), self.dtype)
    check_input_size(self, x.shape[-1], "head")
    linear = 0.0
    if self.head is not None:
      linear = output_layer(
        self, self.num_classes, kernel_init=nn.initializers.zeros
      )(self._compress(x, self.linear_clip))
    if not self.widths:
      output = x if self.head is None else linear
      return with_intermediates(output, [x], intermediates)
    members = MLP(
      num_classes=self.num_classes,
      widths=self.widths,
      activation=self.activation,
      initializer=self.initializer,
      dropout=self.dropout,
      head=self.head,
      remat=self.remat,
      dtype=self.dtype,
      name="members",
    )
    inputs = Dropout(self.input_dropout, name="input_dropout")(
      self._embed(x), train=train
    )
    output, hidden = self._call_members(members, inputs, train)
    states = [x, hidden]
    return with_intermediates(linear + output, states, intermediates)

  def _call_members(
    self, members: MLP, x: Array, train: bool
  ) -> tuple[Array, Array]:
    """Returns logits `[B, C]` and hidden layers `[B, M D]` of the MLPs.

    In training the logits of a row are those of one MLP, and the hidden layers
    are `[B, D]`.
    """
    one_each = train and self.members > 1

    def call(mlp: MLP, x: Array) -> tuple[Array, Array]:
      output, states = mlp(x, train=train, intermediates=True)
      return output, states["hidden_states"][-1]

    in_axes: Any = 0 if one_each else None
    mapped = nn.vmap(
      call,
      variable_axes={"params": 0},
      split_rngs={"params": True, "dropout": True},
      in_axes=in_axes,
      axis_size=self.members,
    )
    if one_each:
      key = self.make_rng("dropout")
      rows, position = assign(key, len(x), self.members)
      output, hidden = mapped(members, x[rows])
      return (
        flatten_members(output)[position],
        flatten_members(hidden)[position],
      )
    output, hidden = mapped(members, x)
    hidden = jnp.moveaxis(hidden, 0, 1)
    hidden = flatten(hidden)
    return (hidden if self.head is None else output.mean(0)), hidden

  def _embed(self, x: Array) -> Array:
    """Returns the inputs of the MLPs, `[B, F]`."""
    x = self._compress(x, CLIP)
    if not (self.numbers and self.frequencies):
      return x
    numbers = x[:, jnp.asarray(self.numbers)]
    return jnp.concatenate([x, self._periodic(numbers)], -1)

  def _compress(self, x: Array, clip: float) -> Array:
    """Returns features `[B, F]` with compressed numbers."""
    if not (self.numbers and clip):
      return x
    positions = jnp.asarray(self.numbers)
    return x.at[:, positions].set(compress(x[:, positions], clip))

  def _periodic(self, numbers: Array) -> Array:
    """Returns the embeddings `[B, P E]` of numbers `[B, P]`."""
    count, size = numbers.shape[-1], self.embedding_dim

    def param(name: str, init: Any, *shape: int) -> Array:
      return self.param(name, init, shape, jnp.float32).astype(self.dtype)

    normal = nn.initializers.normal(self.frequency_scale)
    frequency = param("wave_scale", normal, count, self.frequencies)
    phase = param("wave_bias", _uniform_phase, count, self.frequencies)
    kernel_init = nn.initializers.lecun_normal(batch_axis=(0,))
    kernel = param("wave_kernel", kernel_init, count, self.frequencies, size)
    angles = numbers[..., None] * frequency + phase
    waves = jnp.cos(2 * jnp.pi * angles)
    return flatten(nn.relu(jnp.einsum("BPK,PKE->BPE", waves, kernel)))


def _uniform_phase(key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
  return jax.random.uniform(key, shape, dtype, -0.5, 0.5)


def flatten_members(x: Array) -> Array:
  """Reshapes `[M, B, D]` to `[M B, D]`."""
  return x.reshape(-1, x.shape[-1])


def compress(x: Array, clip: float) -> Array:
  """Returns x / sqrt(1 + (x / clip)^2), between -clip and clip."""
  return x / jnp.sqrt(1 + jnp.square(x / clip))


def assign(key: Array, size: int, members: int) -> tuple[Array, Array]:
  """Divides the rows of a batch among the members of an ensemble.

  Args:
    key: random key, used once.
    size: number of rows, B.
    members: number of members, M.

  Returns:
    Rows of each member, int32 `[M, ceil(B / M)]`, which cover all and repeat
    some; and the position of each row among the flat ones, int32 `[B]`.
  """
  offset = jax.random.randint(key, (), 0, size)
  each = -(-size // members)
  rows = (jnp.arange(members * each) + offset) % size
  return rows.reshape(members, each), (jnp.arange(size) - offset) % size

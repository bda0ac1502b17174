"""Stacked recurrent layers in one or two directions, with padding."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import lookup
from dlcore.layers.dropout import Dropout
from dlcore.layers.mask import segment_begins
from dlcore.layers.recurrent_cell import CELLS, Carry, Cell
from dlcore.layers.recurrent_scan import recur
from dlcore.layers.remat import remat
from dlcore.typing import Array


class Recurrent(nn.Module):
  """A stack of recurrent layers.

  Attributes:
    cell: a key of `CELLS`.
    width: D, width of the state of each layer and direction.
    depth: number of layers.
    bidirectional: whether every layer has a second cell that runs backward in
      time (Schuster & Paliwal 1997).
    layer_norm: whether to normalize the products with both kernels, and the
      state of an LSTM before its output (Ba et al. 2016, arXiv:1607.06450).
    dropout: dropout rate between layers, a number or a traced scalar.
    recurrent_dropout: rate at which weights between successive states are
      dropped, the same ones at all steps (DropConnect, Merity, Keskar & Socher
      2017, arXiv:1708.02182); a number or a traced scalar.
    unroll: number of steps in one iteration of the loop, as in `lax.scan`.
    remat: whether to rematerialize layers in the backward pass.
    dtype: dtype of the products with kernels and of the outputs; carries, gates
      and parameters are float32.
  """

  cell: str
  width: int
  depth: int = 1
  bidirectional: bool = False
  layer_norm: bool = False
  dropout: float | Array = 0.0
  recurrent_dropout: float | Array = 0.0
  unroll: int = 1
  remat: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Array,
    *,
    mask: Array | None = None,
    segment_ids: Array | None = None,
    carry: Carry | None = None,
    reverse: bool = False,
    train: bool,
    decode: bool = False,
    all_layers: bool = False,
  ) -> tuple[Any, Carry]:
    """Maps sequences `[B, T, F]` to outputs `[B, T, D]`.

    Args:
      x: float.
      mask: `[B, T]`, 0 for steps to skip. They leave the carry unchanged and
        output 0, whatever the value of `x`.
      segment_ids: int `[B, T]`, the number of the sequence of each step in a
        packed row, 0 for padding. A layer begins each segment with a carry of
        zeros.
      carry: initial carry, such as the one of a previous call; zeros by
        default.
      reverse: whether to run from the last step to the first.
      train: whether to apply dropout.
      decode: whether to continue from the carry in the collection "cache". The
        first such call creates the cache, with `carry` as its value.
      all_layers: whether to return the outputs of all layers as a tuple.

    Returns:
      The outputs, `[B, T, 2 * D]` if bidirectional, and the final carry: a
      tuple of one array (two for an LSTM) `[L, B, D]` over all layers and
      directions, the directions of a layer next to each other.
    """
    cell = lookup(CELLS, self.cell, "cell")
    directions = ("forward", "backward")[: 1 + self.bidirectional]
    if carry is None:
      shape = (self.depth * len(directions), x.shape[0], self.width)
      carry = (jnp.zeros(shape, jnp.float32),) * cell.num_states
    cache = CarryCache(self, carry) if decode else None
    carry = cache.carry if cache else carry
    x = jnp.swapaxes(x, 0, 1).astype(self.dtype)
    mask = None if mask is None else jnp.swapaxes(mask, 0, 1)
    resets = self._resets(segment_ids, reverse)
    carries, states = [], []
    for i in range(self.depth):
      if i:
        x = Dropout(self.dropout, name=f"dropout_{i}")(x, train=train)
      outputs = []
      for direction in directions:
        run = partial(
          RecurrentLayer.__call__,
          carry=tuple(array[len(carries)] for array in carry),
          mask=mask,
          resets=resets[direction],
          reverse=(direction == "backward") != reverse,
          train=train,
        )
        layer = self._layer(cell, name=f"layer_{i}_{direction}")
        output, final = remat(run, self.remat)(layer, x)
        outputs.append(output)
        carries.append(final)
      x = jnp.concatenate(outputs, axis=-1)
      states.append(jnp.swapaxes(x, 0, 1))
    stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *carries)
    if cache:
      cache.update(stacked)
    return tuple(states) if all_layers else states[-1], stacked

  def _resets(
    self, segment_ids: Array | None, reverse: bool
  ) -> dict[str, Array | None]:
    """Returns bool `[T, B]` by direction, True where a segment begins."""
    if segment_ids is None:
      return {"forward": None, "backward": None}
    first = segment_begins(segment_ids).T
    last = segment_begins(segment_ids[:, ::-1])[:, ::-1].T
    first, last = (last, first) if reverse else (first, last)
    return {"forward": first, "backward": last}

  def _layer(self, cell: Cell, name: str) -> "RecurrentLayer":
    return RecurrentLayer(
      cell,
      self.width,
      self.layer_norm,
      self.recurrent_dropout,
      self.unroll,
      self.dtype,
      name=name,
    )


class CarryCache:
  """The carry of a module, stored in its collection "cache"."""

  def __init__(self, module: nn.Module, carry: Carry):
    self._exists = module.has_variable("cache", "carry_0")
    self._variables = [
      module.variable("cache", f"carry_{i}", lambda array=array: array)
      for i, array in enumerate(carry)
    ]

  @property
  def carry(self) -> Carry:
    """The stored carry."""
    return tuple(variable.value for variable in self._variables)

  def update(self, carry: Carry) -> None:
    """Stores a new carry, except in the call that creates the cache."""
    if self._exists:
      for variable, array in zip(self._variables, carry, strict=True):
        variable.value = array


class RecurrentLayer(nn.Module):
  """One recurrent layer in one direction; owns the parameters of `recur`."""

  cell: Cell
  width: int
  layer_norm: bool
  recurrent_dropout: float | Array
  unroll: int
  dtype: Any

  @nn.compact
  def __call__(
    self,
    x: Array,
    carry: Carry,
    mask: Array | None,
    resets: Array | None,
    *,
    reverse: bool,
    train: bool,
  ) -> tuple[Array, Carry]:
    """Maps `[T, B, F]` to `[T, B, D]` and the final carry."""
    features = x.shape[-1]
    params = cell_params(self, self.cell, features, norm=self.layer_norm)
    drop = Dropout(self.recurrent_dropout, name="recurrent_dropout")
    params["hidden_kernel"] = drop(params["hidden_kernel"], train=train)
    return recur(
      self.cell,
      x,
      params,
      carry=carry,
      mask=mask,
      resets=resets,
      reverse=reverse,
      unroll=self.unroll,
    )


def cell_params(
  module: nn.Module, cell: Cell, features: int, *, norm: bool
) -> dict[str, Array]:
  """Declares the parameters of `recur` in a compact module.

  Args:
    module: has the fields `width` and `dtype`.
    cell: a value of `CELLS`.
    features: F, width of the input.
    norm: whether to declare the parameters of layer norms.
  """
  ones, zeros = nn.initializers.ones_init(), nn.initializers.zeros_init()
  size = cell.num_gates * module.width
  shapes = {
    "input_kernel": (nn.initializers.glorot_uniform(), (features, size)),
    "input_bias": (_input_bias(cell), (size,)),
    "hidden_kernel": (_orthogonal(cell), (module.width, size)),
    "hidden_bias": (zeros, (size,)),
  }
  if norm:
    shapes |= dict.fromkeys(("input_scale", "hidden_scale"), (ones, (size,)))
  if norm and cell.num_states == 2:
    state = (module.width,)
    shapes |= {"state_scale": (ones, state), "state_bias": (zeros, state)}
  params = {name: module.param(name, *args) for name, args in shapes.items()}
  for name in ("input_kernel", "hidden_kernel"):
    params[name] = params[name].astype(module.dtype)
  return params


def _orthogonal(cell: Cell):
  """Returns an initializer with an orthogonal kernel for each gate."""
  orthogonal = nn.initializers.orthogonal()

  def initial(key, shape):
    shape = (shape[0], shape[1] // cell.num_gates)
    keys = jax.random.split(key, cell.num_gates)
    kernels = [orthogonal(key, shape) for key in keys]
    return jnp.concatenate(kernels, axis=-1)

  return initial


def _input_bias(cell: Cell):
  def initial(key, shape):
    del key
    return jnp.repeat(
      jnp.array(cell.biases, jnp.float32), shape[0] // cell.num_gates
    )

  return initial


RNN = partial(Recurrent, "rnn")
LSTM = partial(Recurrent, "lstm")
GRU = partial(Recurrent, "gru")

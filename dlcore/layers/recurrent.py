"""Recurrent layers: stacked, in one or two directions, over padded rows."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import lookup
from dlcore.layers.dropout import Dropout
from dlcore.layers.recurrent_cell import CELLS, Carry, Cell
from dlcore.layers.recurrent_scan import recur
from dlcore.layers.remat import remat
from dlcore.typing import Array


class Recurrent(nn.Module):
  """Runs cells over sequences, layer upon layer.

  Attributes:
    cell: a name of `CELLS`.
    width: D of the state of each layer and direction.
    depth: number of layers; each reads the outputs of the one below it.
    bidirectional: whether every layer has a second cell, from the end to the
      beginning (Schuster & Paliwal 1997).
    layer_norm: whether to normalise the products with both kernels, and the
      state of an LSTM before its output (Ba et al. 2016, arXiv:1607.06450).
    dropout: rate between layers, a number or a traced scalar.
    unroll: steps in one turn of the loop.
    remat: whether the backward pass computes layers again, to save memory.
    dtype: of the products with kernels and of the outputs; carries, gates and
      parameters are float32.
  """

  cell: str
  width: int
  depth: int = 1
  bidirectional: bool = False
  layer_norm: bool = False
  dropout: float | Array = 0.0
  unroll: int = 1
  remat: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Array,
    *,
    mask: Array | None = None,
    carry: Carry | None = None,
    reverse: bool = False,
    train: bool,
    decode: bool = False,
    every: bool = False,
  ) -> tuple[Any, Carry]:
    """Maps sequences `[B, T, F]` to outputs `[B, T, D]`.

    Args:
      x: float.
      mask: `[B, T]`, 0 where a step is to be passed over, whatever `x` holds
        there: carries stay as they are, and outputs are 0.
      carry: what a call returned, to go on from it; zeros by default.
      reverse: whether to begin at the end.
      train: whether to drop.
      decode: whether to go on from the carry in the collection "cache". The
        first such call makes the cache, which is then `carry`.
      every: whether to return the outputs of every layer, as a tuple.

    Returns:
      The outputs, `[B, T, 2 * D]` in two directions, and the last carry: one
      array (in an LSTM two) `[L, B, D]` with the cells of all layers, those of
      a layer in the order of directions.
    """
    cell = lookup(CELLS, self.cell, "cell")
    ways = ("forward", "backward") if self.bidirectional else ("forward",)
    if carry is None:
      shape = (self.depth * len(ways), x.shape[0], self.width)
      carry = (jnp.zeros(shape, jnp.float32),) * cell.states
    cache = CarryCache(self, carry) if decode else None
    carry = cache.carry if cache else carry
    x = jnp.swapaxes(x, 0, 1).astype(self.dtype)
    mask = None if mask is None else jnp.swapaxes(mask, 0, 1)
    lasts, states = [], []
    for i in range(self.depth):
      if i:
        x = Dropout(self.dropout, name=f"dropout_{i}")(x, train=train)
      outputs = []
      for way in ways:
        run = partial(
          Direction.__call__,
          carry=tuple(array[len(lasts)] for array in carry),
          mask=mask,
          reverse=(way == "backward") != reverse,
        )
        layer = self._direction(cell, name=f"layer_{i}_{way}")
        output, last = remat(run, self.remat)(layer, x)
        outputs.append(output)
        lasts.append(last)
      x = jnp.concatenate(outputs, axis=-1)
      states.append(jnp.swapaxes(x, 0, 1))
    carry = jax.tree.map(lambda *arrays: jnp.stack(arrays), *lasts)
    if cache:
      cache.keep(carry)
    return tuple(states) if every else states[-1], carry

  def _direction(self, cell: Cell, name: str) -> "Direction":
    return Direction(
      cell, self.width, self.layer_norm, self.unroll, self.dtype, name=name
    )


class CarryCache:
  """The carry of a module in its collection "cache"."""

  def __init__(self, module: nn.Module, carry: Carry):
    self._ready = module.has_variable("cache", "carry_0")
    self._variables = [
      module.variable("cache", f"carry_{i}", lambda array=array: array)
      for i, array in enumerate(carry)
    ]

  @property
  def carry(self) -> Carry:
    """What is kept."""
    return tuple(variable.value for variable in self._variables)

  def keep(self, carry: Carry) -> None:
    """Takes a new carry, but not in the call that makes the cache."""
    if self._ready:
      for variable, array in zip(self._variables, carry, strict=True):
        variable.value = array


class Direction(nn.Module):
  """One layer of cells in one direction: owns the parameters of `recur`."""

  cell: Cell
  width: int
  layer_norm: bool
  unroll: int
  dtype: Any

  @nn.compact
  def __call__(
    self, x: Array, carry: Carry, mask: Array | None, *, reverse: bool
  ) -> tuple[Array, Carry]:
    """Maps `[T, B, F]` to `[T, B, D]` and the last carry."""
    features = x.shape[-1]
    params = cell_params(self, self.cell, features, norm=self.layer_norm)
    how = {"reverse": reverse, "unroll": self.unroll}
    return recur(self.cell, x, params, carry=carry, mask=mask, **how)


def cell_params(
  module: nn.Module, cell: Cell, features: int, *, norm: bool
) -> dict[str, Array]:
  """Makes the parameters of `recur` within a module.

  Args:
    module: with the fields `width` and `dtype`.
    cell: one of `CELLS`.
    features: F of the input.
    norm: whether to normalise.
  """
  ones, zeros = nn.initializers.ones_init(), nn.initializers.zeros_init()
  size = cell.gates * module.width
  shapes = {
    "input_kernel": (nn.initializers.glorot_uniform(), (features, size)),
    "input_bias": (_input_bias(cell), (size,)),
    "hidden_kernel": (_orthogonal(cell), (module.width, size)),
    "hidden_bias": (zeros, (size,)),
  }
  if norm:
    shapes |= dict.fromkeys(("input_scale", "hidden_scale"), (ones, (size,)))
  if norm and cell.states == 2:
    state = (module.width,)
    shapes |= {"state_scale": (ones, state), "state_bias": (zeros, state)}
  params = {name: module.param(name, *how) for name, how in shapes.items()}
  for name in ("input_kernel", "hidden_kernel"):
    params[name] = params[name].astype(module.dtype)
  return params


def _orthogonal(cell: Cell):
  """Returns an initializer that makes the kernel of every gate orthogonal."""
  one = nn.initializers.orthogonal()

  def initial(key, shape):
    shape = (shape[0], shape[1] // cell.gates)
    keys = jax.random.split(key, cell.gates)
    return jnp.concatenate([one(key, shape) for key in keys], axis=-1)

  return initial


def _input_bias(cell: Cell):
  def initial(key, shape):
    del key
    return jnp.repeat(
      jnp.array(cell.biases, jnp.float32), shape[0] // cell.gates
    )

  return initial


RNN = partial(Recurrent, "rnn")
LSTM = partial(Recurrent, "lstm")
GRU = partial(Recurrent, "gru")

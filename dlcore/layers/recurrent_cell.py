"""Cells of recurrent networks: one step, as pure functions.

A cell adds, or multiplies, what comes from its input and what comes from its
state. Both products with a kernel lie outside of it, so that `recur` can do
those of the input for many steps at once.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dlcore.typing import Array

Carry = tuple[Array, ...]
"""What goes from step to step, float32 `[B, D]` each; the first is output."""

Gates = tuple[Array, ...]
"""Float32 `[B, D]` each."""


class Cell(NamedTuple):
  """A step without its products, and the gradient of it."""

  biases: tuple[float, ...]
  """What the bias of each of its gates is at first."""

  norms: tuple[int, ...]
  """How many gates, in a row, are normalised together."""

  states: int
  """How many arrays it carries."""

  activate: Callable[[Gates, Gates], Gates]
  """`(gates of the input, gates of the state) -> gates` after activation."""

  update: Callable[..., Carry]
  """`(carry, gates after activation, normalize) -> carry`."""

  backward: Callable[..., tuple[Carry, Gates, Gates]]
  """`(gates after activation, carry before, carry after, gradient of the
  carry after) ->` gradients of the carry before, of the gates of the input
  and of those of the state."""

  @property
  def gates(self) -> int:
    """How many gates it has."""
    return len(self.biases)


def step(
  cell: Cell, carry: Carry, gates: Array, params: Mapping[str, Array]
) -> tuple[Carry, Array]:
  """Takes one step of a cell.

  Args:
    cell: one of `CELLS`.
    carry: float32 `[B, D]` each.
    gates: of the input, float32 `[B, G]`: its product with a kernel, and bias.
    params: `hidden_kernel` `[D, G]` and `hidden_bias` `[G]`; with
      `hidden_scale` `[G]` the product is normalised, with `state_scale` and
      `state_bias` `[D]` so is the state of an LSTM before its output.

  Returns:
    The new carry, and the output, which is its first array.
  """
  hidden = product(carry[0], params["hidden_kernel"])
  hidden = normalized(cell, hidden, params.get("hidden_scale"))
  hidden += params["hidden_bias"]
  active = cell.activate(split(cell, gates), split(cell, hidden))
  carry = cell.update(
    carry, active, lambda state: _normalized_state(state, params)
  )
  return carry, carry[0]


def product(x: Array, kernel: Array) -> Array:
  """Returns `x @ kernel` in float32, computed in the dtype of the kernel."""
  return jnp.matmul(
    x.astype(kernel.dtype), kernel, preferred_element_type=jnp.float32
  )


def split(cell: Cell, gates: Array) -> Gates:
  """Cuts `[..., G]` into the gates, `[..., D]` each."""
  return tuple(jnp.split(gates, cell.gates, axis=-1))


def normalized(cell: Cell, gates: Array, scale: Array | None) -> Array:
  """Normalises what a product gives, if there is a scale `[G]`.

  The mean and the variance are those of all gates, but in a GRU the last one
  has its own, since it is added after a product with another.

  Ba, Kiros & Hinton 2016, arXiv:1607.06450, eq. 20 to 27. The biases that are
  added next are those of the norms.
  """
  if scale is None:
    return gates
  width = gates.shape[-1] // cell.gates
  ends = np.cumsum(cell.norms)[:-1] * width
  parts = map(layer_norm, jnp.split(gates, ends, axis=-1))
  return jnp.concatenate(list(parts), axis=-1) * scale


def layer_norm(x: Array) -> Array:
  """Gives the last axis of float32 `x` the mean 0 and the variance 1."""
  mean = x.mean(-1, keepdims=True)
  variance = jnp.square(x - mean).mean(-1, keepdims=True)
  return (x - mean) * lax.rsqrt(variance + 1e-5)


def _normalized_state(state, params):
  if "state_scale" not in params:
    return state
  return layer_norm(state) * params["state_scale"] + params["state_bias"]


def _rnn(activation: Callable, slope: Callable) -> Cell:
  """Returns the plain cell, h' = activation(x + h).

  Elman 1990, "Finding structure in time".

  Args:
    activation: elementwise.
    slope: its derivative, of its value.
  """

  def activate(x, h):
    return (activation(x[0] + h[0]),)

  def update(carry, gates, normalize=None):
    del carry, normalize
    return gates

  def backward(gates, before, after, gradient):
    del after
    gates = (gradient[0] * slope(gates[0]),)
    return (jnp.zeros_like(before[0]),), gates, gates

  return Cell((0,), (1,), 1, activate, update, backward)


def _lstm_activate(x, h):
  write, keep, new, read = (a + b for a, b in zip(x, h, strict=True))
  write, keep, read = map(jax.nn.sigmoid, (write, keep, read))
  return write, keep, jnp.tanh(new), read


def _lstm_update(carry, gates, normalize=lambda state: state):
  """Keeps a state that gates write, keep and read.

  Hochreiter & Schmidhuber 1997, "Long short-term memory", with the forget
  gate of Gers, Schmidhuber & Cummins 2000. Gates: input, forget, cell, output.
  """
  write, keep, new, read = gates
  state = keep * carry[1] + write * new
  return read * jnp.tanh(normalize(state)), state


def _lstm_backward(gates, before, after, gradient):
  write, keep, new, read = gates
  dhidden, dstate = gradient
  shown = jnp.tanh(after[1])
  dstate += dhidden * read * (1 - shown * shown)
  dgates = (
    dstate * new * write * (1 - write),
    dstate * before[1] * keep * (1 - keep),
    dstate * write * (1 - new * new),
    dhidden * shown * read * (1 - read),
  )
  return (jnp.zeros_like(dhidden), dstate * keep), dgates, dgates


def _gru_activate(x, h):
  reset = jax.nn.sigmoid(x[0] + h[0])
  keep = jax.nn.sigmoid(x[1] + h[1])
  return reset, keep, jnp.tanh(x[2] + reset * h[2]), h[2]


def _gru_update(carry, gates, normalize=None):
  """Mixes the last output and a new one.

  Cho et al. 2014, arXiv:1406.1078, with the reset gate after the product of
  the state, as PyTorch and cuDNN have it. Gates: reset, update, new.
  """
  del normalize
  _, keep, new, _ = gates
  return (keep * carry[0] + (1 - keep) * new,)


def _gru_backward(gates, before, after, gradient):
  del after
  reset, keep, new, recalled = gates
  (dhidden,) = gradient
  dnew = dhidden * (1 - keep) * (1 - new * new)
  dkeep = dhidden * (before[0] - new) * keep * (1 - keep)
  dreset = dnew * recalled * reset * (1 - reset)
  return (
    (dhidden * keep,),
    (dreset, dkeep, dnew),
    (dreset, dkeep, dnew * reset),
  )


CELLS: dict[str, Cell] = {
  "gru": Cell((0, 0, 0), (2, 1), 1, _gru_activate, _gru_update, _gru_backward),
  # A forget gate of 1 keeps the state at first (Jozefowicz, Zaremba &
  # Sutskever 2015, "An empirical exploration of recurrent networks").
  "lstm": Cell(
    (0, 1, 0, 0), (4,), 2, _lstm_activate, _lstm_update, _lstm_backward
  ),
  "rnn": _rnn(jnp.tanh, lambda y: 1 - y * y),
  "rnn_relu": _rnn(jax.nn.relu, lambda y: (y > 0).astype(y.dtype)),
}
"""Cells by name."""

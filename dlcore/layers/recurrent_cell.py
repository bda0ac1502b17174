"""Recurrent cells: one step, as pure functions.

A cell combines the gates of its input and those of its state. Both products
with a kernel are computed outside of it, so that `recur` can compute those of
the input for many steps in one matmul.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dlcore.typing import Array

Carry = tuple[Array, ...]
"""State of a cell, float32 `[B, D]` each; the first is also the output."""

Gates = tuple[Array, ...]
"""Float32 `[B, D]` each."""


class Cell(NamedTuple):
  """The elementwise part of a step and its gradient."""

  biases: tuple[float, ...]
  """Initial bias of each gate."""

  norms: tuple[int, ...]
  """Numbers of consecutive gates that share a layer norm."""

  num_states: int
  """Number of arrays in the carry."""

  activate: Callable[[Gates, Gates], Gates]
  """`(gates of the input, gates of the state) -> activated gates`."""

  update: Callable[..., Carry]
  """`(carry, activated gates, normalize) -> carry`."""

  backward: Callable[..., tuple[Carry, Gates, Gates]]
  """`(activated gates, old carry, new carry, gradient of the new carry) ->`
  gradients of the old carry, of the gates of the input and of those of the
  state."""

  @property
  def num_gates(self) -> int:
    """Number of gates."""
    return len(self.biases)


def step(
  cell: Cell, carry: Carry, gates: Array, params: Mapping[str, Array]
) -> tuple[Carry, Array]:
  """Runs one step of a cell.

  Args:
    cell: a value of `CELLS`.
    carry: float32 `[B, D]` each.
    gates: float32 `[B, G]`, gates of the input including the bias.
    params: `hidden_kernel` `[D, G]` and `hidden_bias` `[G]`. With
      `hidden_scale` `[G]` the product is normalized; with `state_scale` and
      `state_bias` `[D]` the state of an LSTM is normalized before its output.

  Returns:
    The new carry and the output, which is its first array.
  """
  hidden = product(carry[0], params["hidden_kernel"])
  hidden = normalize_gates(cell, hidden, params.get("hidden_scale"))
  hidden += params["hidden_bias"]
  active = cell.activate(split(cell, gates), split(cell, hidden))
  carry = cell.update(
    carry, active, lambda state: _normalize_state(state, params)
  )
  return carry, carry[0]


def product(x: Array, kernel: Array) -> Array:
  """Returns `x @ kernel` in float32, computed in the dtype of the kernel."""
  return jnp.matmul(
    x.astype(kernel.dtype), kernel, preferred_element_type=jnp.float32
  )


def split(cell: Cell, gates: Array) -> Gates:
  """Splits `[..., G]` into the gates, `[..., D]` each."""
  return tuple(jnp.split(gates, cell.num_gates, axis=-1))


def normalize_gates(cell: Cell, gates: Array, scale: Array | None) -> Array:
  """Applies layer norm to the gates `[..., G]` if there is a scale `[G]`.

  Mean and variance are shared by all gates, except in a GRU, where the last
  gate has its own because it is multiplied by the reset gate first.

  Ba, Kiros & Hinton 2016, arXiv:1607.06450, eq. 20 to 27. The caller adds the
  biases of the norms.
  """
  if scale is None:
    return gates
  width = gates.shape[-1] // cell.num_gates
  ends = np.cumsum(cell.norms)[:-1] * width
  parts = map(layer_norm, jnp.split(gates, ends, axis=-1))
  return jnp.concatenate(list(parts), axis=-1) * scale


def layer_norm(x: Array) -> Array:
  """Normalizes the last axis of float32 `x` to mean 0 and variance 1."""
  mean = x.mean(-1, keepdims=True)
  variance = jnp.square(x - mean).mean(-1, keepdims=True)
  return (x - mean) * lax.rsqrt(variance + 1e-5)


def _normalize_state(state, params):
  if "state_scale" not in params:
    return state
  return layer_norm(state) * params["state_scale"] + params["state_bias"]


def _rnn(activation: Callable, derivative: Callable) -> Cell:
  """Returns the simple recurrent cell, h' = activation(x + h).

  Elman 1990, "Finding structure in time".

  Args:
    activation: elementwise function.
    derivative: its derivative as a function of its value.
  """

  def activate(x, h):
    return (activation(x[0] + h[0]),)

  def update(carry, gates, normalize=None):
    del carry, normalize
    return gates

  def backward(gates, before, after, gradient):
    del after
    gates = (gradient[0] * derivative(gates[0]),)
    return (jnp.zeros_like(before[0]),), gates, gates

  return Cell((0,), (1,), 1, activate, update, backward)


def _lstm_activate(x, h):
  i, f, g, o = (a + b for a, b in zip(x, h, strict=True))
  i, f, o = map(jax.nn.sigmoid, (i, f, o))
  return i, f, jnp.tanh(g), o


def _lstm_update(carry, gates, normalize=lambda state: state):
  """Updates the cell state and the output of an LSTM.

  Hochreiter & Schmidhuber 1997, "Long short-term memory", with the forget
  gate of Gers, Schmidhuber & Cummins 2000. Gates: input, forget, cell, output.
  """
  i, f, g, o = gates
  state = f * carry[1] + i * g
  return o * jnp.tanh(normalize(state)), state


def _lstm_backward(gates, before, after, gradient):
  i, f, g, o = gates
  dhidden, dstate = gradient
  activated = jnp.tanh(after[1])
  dstate += dhidden * o * (1 - activated * activated)
  dgates = (
    dstate * g * i * (1 - i),
    dstate * before[1] * f * (1 - f),
    dstate * i * (1 - g * g),
    dhidden * activated * o * (1 - o),
  )
  return (jnp.zeros_like(dhidden), dstate * f), dgates, dgates


def _gru_activate(x, h):
  reset = jax.nn.sigmoid(x[0] + h[0])
  update = jax.nn.sigmoid(x[1] + h[1])
  return reset, update, jnp.tanh(x[2] + reset * h[2]), h[2]


def _gru_update(carry, gates, normalize=None):
  """Interpolates between the previous output and a new one.

  Cho et al. 2014, arXiv:1406.1078, with the reset gate applied after the
  product with the state, as in PyTorch and cuDNN. Gates: reset, update, new.
  """
  del normalize
  _, update, new, _ = gates
  return (update * carry[0] + (1 - update) * new,)


def _gru_backward(gates, before, after, gradient):
  del after
  reset, update, new, hidden = gates
  (dhidden,) = gradient
  dnew = dhidden * (1 - update) * (1 - new * new)
  dupdate = dhidden * (before[0] - new) * update * (1 - update)
  dreset = dnew * hidden * reset * (1 - reset)
  return (
    (dhidden * update,),
    (dreset, dupdate, dnew),
    (dreset, dupdate, dnew * reset),
  )


CELLS: dict[str, Cell] = {
  "gru": Cell((0, 0, 0), (2, 1), 1, _gru_activate, _gru_update, _gru_backward),
  # A forget bias of 1 preserves the state early in training (Jozefowicz,
  # Zaremba & Sutskever 2015, "An empirical exploration of recurrent networks").
  "lstm": Cell(
    (0, 1, 0, 0), (4,), 2, _lstm_activate, _lstm_update, _lstm_backward
  ),
  "rnn": _rnn(jnp.tanh, lambda y: 1 - y * y),
  "rnn_relu": _rnn(jax.nn.relu, lambda y: (y > 0).astype(y.dtype)),
}
"""Cells by name."""

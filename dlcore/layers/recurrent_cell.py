"""Cells of recurrent networks: one step, as pure functions.

A cell adds, or multiplies, what comes from its input and what comes from its
state. Both products with a kernel lie outside of it, so that `recur` can do
those of the input for many steps at once.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dlcore.typing import Array

Carry = tuple[Array, ...]
"""What goes from step to step, float32 `[B, D]` each; the first is output."""

Gates = tuple[Array, ...]
"""Float32 `[B, D]` each, before their activations."""


class Cell(NamedTuple):
  """A step without its products, and the gradient of it."""

  biases: tuple[float, ...]
  """What the bias of each of its gates is at first."""

  norms: tuple[int, ...]
  """How many gates, in a row, are normalised together."""

  states: int
  """How many arrays it carries."""

  forward: Callable[..., tuple[Carry, Any]]
  """`(carry, gates of the input, gates of the state, normalize) -> (carry,
  kept)`; `kept` is what the gradient needs beside the carries."""

  backward: Callable[..., tuple[Carry, Gates, Gates]]
  """`(kept, carry before, carry after, gradient of the carry after) ->`
  gradients of the carry before and of the gates of input and state."""

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
  carry, _ = cell.forward(
    carry,
    split(cell, gates),
    split(cell, hidden),
    lambda state: _normalized_state(state, params),
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

  def forward(carry, x, h, normalize=None):
    del carry, normalize
    return (activation(x[0] + h[0]),), ()

  def backward(kept, before, after, gradient):
    del kept
    gates = (gradient[0] * slope(after[0]),)
    return (jnp.zeros_like(before[0]),), gates, gates

  return Cell((0,), (1,), 1, forward, backward)


def _lstm(carry, x, h, normalize=lambda state: state):
  """Keeps a state that gates write, keep and read.

  Hochreiter & Schmidhuber 1997, "Long short-term memory", with the forget
  gate of Gers, Schmidhuber & Cummins 2000. Gates: input, forget, cell, output.
  """
  _, state = carry
  write, keep, new, read = (a + b for a, b in zip(x, h, strict=True))
  write, keep, read = map(jax.nn.sigmoid, (write, keep, read))
  new = jnp.tanh(new)
  state = keep * state + write * new
  hidden = read * jnp.tanh(normalize(state))
  return (hidden, state), (write, keep, new, read)


def _lstm_backward(kept, before, after, gradient):
  write, keep, new, read = kept
  dhidden, dstate = gradient
  shown = jnp.tanh(after[1])
  dstate += dhidden * read * (1 - shown * shown)
  gates = (
    dstate * new * write * (1 - write),
    dstate * before[1] * keep * (1 - keep),
    dstate * write * (1 - new * new),
    dhidden * shown * read * (1 - read),
  )
  return (jnp.zeros_like(dhidden), dstate * keep), gates, gates


def _gru(carry, x, h, normalize=None):
  """Mixes the last output and a new one.

  Cho et al. 2014, arXiv:1406.1078, with the reset gate after the product of
  the state, as PyTorch and cuDNN have it. Gates: reset, update, new.
  """
  del normalize
  (hidden,) = carry
  reset = jax.nn.sigmoid(x[0] + h[0])
  keep = jax.nn.sigmoid(x[1] + h[1])
  new = jnp.tanh(x[2] + reset * h[2])
  return (keep * hidden + (1 - keep) * new,), (reset, keep, new, h[2])


def _gru_backward(kept, before, after, gradient):
  del after
  reset, keep, new, recalled = kept
  (dhidden,) = gradient
  dnew = dhidden * (1 - keep) * (1 - new * new)
  dkeep = dhidden * (before[0] - new) * keep * (1 - keep)
  dreset = dnew * recalled * reset * (1 - reset)
  gates = (dreset, dkeep)
  return (dhidden * keep,), (*gates, dnew), (*gates, dnew * reset)


CELLS: dict[str, Cell] = {
  "gru": Cell((0, 0, 0), (2, 1), 1, _gru, _gru_backward),
  # A forget gate of 1 keeps the state at first (Jozefowicz, Zaremba &
  # Sutskever 2015, "An empirical exploration of recurrent networks").
  "lstm": Cell((0, 1, 0, 0), (4,), 2, _lstm, _lstm_backward),
  "rnn": _rnn(jnp.tanh, lambda y: 1 - y * y),
  "rnn_relu": _rnn(jax.nn.relu, lambda y: (y > 0).astype(y.dtype)),
}
"""Cells by name."""

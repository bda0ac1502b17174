"""A recurrent cell over all steps, in the formulation that is fast."""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.layers.recurrent_cell import (
  Carry,
  Cell,
  normalized,
  product,
  split,
  step,
)
from dlcore.typing import Array

CHUNK = 16
"""The most steps whose products with the input are one matmul on CPU."""


def recur(
  cell: Cell,
  x: Array,
  params: Mapping[str, Array],
  *,
  carry: Carry | None = None,
  mask: Array | None = None,
  reverse: bool = False,
  unroll: int = 1,
) -> tuple[Array, Carry]:
  """Runs a cell over a sequence.

  What is masked has no influence on anything, whatever it holds: the carry
  stays as it is there, and the output is 0. So a reversed run begins at the
  last kept step of each row, and a carry is that of the last kept step.

  The backward pass is written out, so that the gradient of a kernel is one
  matmul over many steps. It can be differentiated again, but there is no
  forward mode: `scan_cell` has all modes.

  Args:
    cell: one of `CELLS`.
    x: `[T, B, F]`, in the dtype of the kernels.
    params: those of `step`; `input_kernel` `[F, G]` and `input_bias` `[G]`;
      with `input_scale` `[G]` the product with the input is normalised.
    carry: float32 `[B, D]` each, zeros by default.
    mask: bool `[T, B]`, False where a step is to be passed over.
    reverse: whether to begin at the last step.
    unroll: steps in one turn of the loop.

  Returns:
    The outputs `[T, B, D]`, of the dtype of `x`, and the last carry.
  """
  if "hidden_scale" in params:
    run = partial(scan_cell, cell)
    settings = {"carry": carry, "mask": mask}
    return run(x, params, **settings, reverse=reverse, unroll=unroll)
  x, mask, carry = _prepared(cell, x, params, carry, mask)
  outputs, carry = _recur(cell, reverse, unroll, x, params, carry, mask)
  return _shown(outputs, mask, x.dtype), carry


def scan_cell(
  cell: Cell,
  x: Array,
  params: Mapping[str, Array],
  *,
  carry: Carry | None = None,
  mask: Array | None = None,
  reverse: bool = False,
  unroll: int = 1,
) -> tuple[Array, Carry]:
  """Does what `recur` does, as it is written in papers.

  The products with the input are one matmul for all steps; the rest is a scan
  that JAX differentiates.
  """
  x, mask, carry = _prepared(cell, x, params, carry, mask)
  gates = product(x, params["input_kernel"])
  gates = normalized(cell, gates, params.get("input_scale"))
  gates += params["input_bias"]

  def one(carry, xs):
    gates, mask = xs
    new, _ = step(cell, carry, gates, params)
    carry = _where(mask, new, carry)
    return carry, carry[0]

  xs = (gates, mask)
  carry, outputs = lax.scan(one, carry, xs, reverse=reverse, unroll=unroll)
  return _shown(outputs, mask, x.dtype), carry


def _prepared(cell, x, params, carry, mask):
  if mask is not None:
    mask = mask.astype(bool)[:, :, None]
    # Zeros, since a product of 0 and NaN in a gradient is NaN.
    x = jnp.where(mask, x, 0)
  if carry is None:
    shape = (x.shape[1], params["hidden_kernel"].shape[0])
    carry = (jnp.zeros(shape, jnp.float32),) * cell.states
  return x, mask, tuple(carry)


def _shown(outputs, mask, dtype):
  outputs = outputs if mask is None else jnp.where(mask, outputs, 0)
  return outputs.astype(dtype)


def _where(mask, new: Carry, old: Carry) -> Carry:
  if mask is None:
    return new
  return tuple(jnp.where(mask, a, b) for a, b in zip(new, old, strict=True))


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _recur(cell, reverse, unroll, x, params, carry, mask):
  """Returns the first array of every carry, masked or not, and the last."""
  run = partial(_forward, cell, reverse, unroll, False)
  last, after, _ = _by_chunks(run, x, params, carry, mask)
  return after[0], last


def _recur_forward(cell, reverse, unroll, x, params, carry, mask):
  run = partial(_forward, cell, reverse, unroll, True)
  last, after, gates = _by_chunks(run, x, params, carry, mask)
  return (after[0], last), (x, params, carry, mask, after, gates)


def _recur_backward(cell, reverse, unroll, residuals, gradients):
  x, params, carry, mask, after, gates = residuals
  doutputs, dlast = gradients
  before = [
    jnp.concatenate(
      [array[1:], start[None]] if reverse else [start[None], array[:-1]]
    )
    for array, start in zip(after, carry, strict=True)
  ]
  run = partial(_backward, cell, reverse, unroll)
  steps = (before, after, gates, doutputs, mask)
  dx, dparams, dcarry = _by_chunks(run, x, params, dlast, steps)
  dparams = {
    name: array.astype(params[name].dtype) for name, array in dparams.items()
  }
  return dx.astype(x.dtype), dparams, dcarry, None


_recur.defvjp(_recur_forward, _recur_backward)


def _by_chunks(run, x, *rest):
  """Calls `run(x, ..., size=steps in a chunk, hold=...)`.

  On CPU what a few steps compute stays in the cache, and no memory has to be
  asked for all of them at once, whose page faults are slow. There `hold` keeps
  XLA from computing a thing several times, or in another layout, to save
  memory traffic. Forward and backward 100 steps of an LSTM of width 128 took
  0.5 of the time of `scan_cell`, the forward pass alone 0.7 (batch 64, two
  cores, jax 0.12.0).
  """
  length = x.shape[0]
  size = max(n for n in range(1, CHUNK + 1) if length % n == 0)
  return lax.platform_dependent(
    x,
    *rest,
    cpu=partial(run, size=size, hold=lax.optimization_barrier),
    default=partial(run, size=length, hold=lambda x: x),
  )


def _cut(tree, size: int):
  """Cuts `[T, ...]` into `[T / size, size, ...]`."""
  return jax.tree.map(
    lambda x: x.reshape(x.shape[0] // size, size, *x.shape[1:]), tree
  )


def _joined(tree):
  return jax.tree.map(
    lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), tree
  )


def _forward(
  cell, reverse, unroll, keep, x, params, carry, mask, *, size, hold
):
  """Returns the last carry, and of every step the carry and the gates.

  Gates that are kept in memory anyway need no `hold`.
  """

  def several(carry, xs):
    x, mask = xs
    gates = product(x, params["input_kernel"]) + params["input_bias"]
    return lax.scan(one, carry, (gates, mask), reverse=reverse, unroll=unroll)

  def one(carry, xs):
    gates, mask = xs
    hidden = product(carry[0], params["hidden_kernel"]) + params["hidden_bias"]
    gates = cell.activate(split(cell, gates), split(cell, hidden))
    gates = gates if keep else hold(gates)
    carry = _where(mask, cell.update(carry, gates), carry)
    return carry, (carry, gates)

  xs = _cut((x, mask), size)
  carry, steps = lax.scan(several, carry, xs, reverse=reverse)
  return (carry, *_joined(steps))


def _backward(cell, reverse, unroll, x, params, dcarry, steps, *, size, hold):
  """Returns the gradients of the input, the parameters and the first carry."""
  backwards = {"reverse": not reverse}

  def several(carry, xs):
    dcarry, dparams = carry
    x, (before, *_) = xs
    dcarry, found = lax.scan(one, dcarry, xs[1], unroll=unroll, **backwards)
    dgates, dhidden = found[0], found[-1]
    parts = {
      "input_kernel": _outer(x, dgates, hold),
      "input_bias": dgates.sum((0, 1)),
      "hidden_kernel": _outer(before[0].astype(x.dtype), dhidden, hold),
      "hidden_bias": dhidden.sum((0, 1)),
    }
    dparams = jax.tree.map(jnp.add, dparams, parts)
    return (dcarry, dparams), product(dgates, params["input_kernel"].T)

  def one(dcarry, xs):
    before, after, gates, doutput, mask = xs
    dcarry = (dcarry[0] + doutput, *dcarry[1:])
    zeros = tuple(map(jnp.zeros_like, dcarry))
    through, past = _where(mask, dcarry, zeros), _where(mask, zeros, dcarry)
    (dcarry, *rest), *found = cell.backward(gates, before, after, through)
    if found[0] is found[1]:
      del found[1]  # Lest the loop writes the same array twice.
    found = [jnp.concatenate(gates, axis=-1) for gates in found]
    dcarry += product(found[-1], params["hidden_kernel"].T)
    dcarry = (dcarry, *rest)
    if mask is not None:
      dcarry = jax.tree.map(jnp.add, dcarry, past)
    return dcarry, found

  zeros = jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float32), dict(params))
  (dcarry, dparams), dx = lax.scan(
    several, (dcarry, zeros), _cut((x, steps), size), **backwards
  )
  return _joined(dx), dparams, dcarry


def _outer(x, y, hold):
  """Sums the outer products of all steps and rows, `[F, G]` in float32."""
  steps, batch = x.shape[:2]
  rows = hold(x.reshape(steps * batch, x.shape[-1]).T)
  return jnp.matmul(
    rows,
    y.reshape(steps * batch, y.shape[-1]).astype(x.dtype),
    preferred_element_type=jnp.float32,
  )

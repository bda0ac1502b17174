"""Adan (Xie et al. 2022, arXiv:2208.06677)."""

import jax
import jax.numpy as jnp
import optax

from dlcore.optim.bias import correct_bias
from dlcore.optim.settings import Number


def scale_by_adan(
  b1: Number = 0.98,
  b2: Number = 0.92,
  b3: Number = 0.99,
  eps: Number = 1e-8,
  eps_root: Number = 0.0,
) -> optax.GradientTransformation:
  """Scales Nesterov momentum, estimated from differences of gradients.

  Algorithm 1 of Xie et al. 2022, arXiv:2208.06677, whose betas are `1 - b`. Its
  factor of the difference is therefore `b2`; that of `optax.scale_by_adan` is
  `1 - b2`. The first difference is 0 and the averages are corrected for their
  bias, as in the authors' code.

  Args:
    b1: decay of the average of gradients.
    b2: decay of the average of differences, and their factor.
    b3: decay of the average of squares.
    eps: added to the root of the average of squares.
    eps_root: added to the average of squares.
  """

  def init(params):
    m, v, n, g = (optax.tree.zeros_like(params) for _ in range(4))
    return optax.ScaleByAdanState(m, v, n, g, jnp.zeros((), jnp.int32))

  def update(updates, state, params=None):
    del params
    difference = jax.tree.map(
      lambda new, old: jnp.where(state.t == 0, 0, new - old), updates, state.g
    )
    ahead = optax.tree.add_scale(updates, b2, difference)
    m = optax.tree.update_moment(updates, state.m, b1, 1)
    v = optax.tree.update_moment(difference, state.v, b2, 1)
    n = optax.tree.update_moment(ahead, state.n, b3, 2)
    t = jnp.asarray(optax.safe_increment(state.t))
    ascent = jax.tree.map(
      lambda m, v, n: (m + b2 * v) / (jnp.sqrt(n + eps_root) + eps),
      correct_bias(m, b1, t),
      correct_bias(v, b2, t),
      correct_bias(n, b3, t),
    )
    return ascent, optax.ScaleByAdanState(m, v, n, updates, t)

  return optax.GradientTransformation(init, update)

"""Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon)."""

import re

import jax
import jax.numpy as jnp
import optax

from dlcore.optim.bias import total_weight
from dlcore.optim.settings import Number
from dlcore.trees import map_with_path
from dlcore.typing import Array, Params, PyTree

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of x, x**3 and x**5 in each of five steps."""


def muon(
  *,
  beta: Number,
  eps: Number,
  adam_b1: Number,
  adam_b2: Number,
  adam_params: str,
  consistent_rms: Number,
) -> optax.GradientTransformation:
  """Orthogonalizes the momentum of matrices.

  Vectors, other shapes and the paths that match `adam_params` are updated by
  Adam with Nesterov momentum. Scaled to `consistent_rms`, the updates of
  matrices are about as large as Adam's, so that both can share one learning
  rate. Kernels `[Y, X, I, O]` are matrices `[Y * X * I, O]`.

  Args:
    beta: decay of the momentum, an average whose bias is corrected.
    eps: added to the norm of matrices, and to Adam's divisor.
    adam_b1: decay of Adam's average of gradients.
    adam_b2: decay of Adam's average of squared gradients.
    adam_params: regex over the paths of matrices that Adam updates; an empty
      one matches none.
    consistent_rms: root mean square of an update of a square matrix (Liu et al.
      2025, arXiv:2502.16982).
  """

  def label(path: str, leaf: Array) -> str:
    by_adam = bool(adam_params) and re.search(adam_params, path)
    return "muon" if leaf.ndim in (2, 4) and not by_adam else "adam"

  def labels(params: Params) -> PyTree:
    return map_with_path(label, params)

  adam = optax.scale_by_adam(adam_b1, adam_b2, eps, nesterov=True)
  matrices = scale_by_muon(beta, eps, consistent_rms)
  # The chains keep the paths in the state those of `optax.contrib.muon`.
  return optax.chain(
    optax.partition(
      {"muon": optax.chain(matrices), "adam": optax.chain(adam)}, labels
    )
  )


def scale_by_muon(
  beta: Number = 0.95, eps: Number = 1e-8, consistent_rms: Number = 0.2
) -> optax.GradientTransformation:
  """Orthogonalizes the Nesterov momentum, see `muon`.

  Unlike Optax's, products are not batched: XLA's batched products of small
  matrices lose a digit on CPU.
  """

  def init(params):
    return optax.contrib.MuonState(
      count=jnp.zeros((), jnp.int32),
      mu=optax.tree.zeros_like(params),
      ns_coeffs=jnp.asarray(NEWTON_SCHULZ),
    )

  def update(updates, state, params=None):
    del params
    count = jnp.asarray(optax.safe_increment(state.count))
    mu = optax.tree.update_moment(updates, state.mu, beta, 1)
    now, ahead = total_weight(beta, count), total_weight(beta, count + 1)

    def direction(m, g):
      momentum = beta * m / ahead + (1 - beta) * g / now
      x = momentum.reshape(-1, g.shape[-1])
      scale = consistent_rms * max(x.shape) ** 0.5
      return scale * orthogonalize(x, eps).reshape(g.shape)

    directions = jax.tree.map(direction, mu, updates)
    return directions, optax.contrib.MuonState(count, mu, state.ns_coeffs)

  return optax.GradientTransformation(init, update)


def orthogonalize(x: Array, eps: Number = 1e-8) -> Array:
  """Brings the singular values of a matrix near 1 by Newton-Schulz steps.

  Five steps bring them to 0.7 to 1.2 only, which suffices (Jordan et al. 2024).

  Args:
    x: `[R, C]`.
    eps: added to the norm.
  """
  a, b, c = NEWTON_SCHULZ
  wide = x.T if x.shape[0] > x.shape[1] else x
  wide /= jnp.linalg.norm(wide) + eps
  for _ in range(5):
    square = wide @ wide.T
    wide = a * wide + (b * square + c * (square @ square)) @ wide
  return wide.T if x.shape[0] > x.shape[1] else wide

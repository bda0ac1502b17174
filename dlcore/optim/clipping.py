"""Clipping of gradients, before the optimizer's own transformation."""

import math

import jax
import jax.numpy as jnp
import optax

from dlcore.optim.settings import Number
from dlcore.typing import PyTree


def clipping(
  *,
  clip_value: Number,
  clip_layer: Number,
  clip_adaptive: Number,
  clip_norm: Number,
) -> list[optax.GradientTransformation]:
  """Returns the transformations of the limits that are on, in this order.

  A concrete limit of 0 or infinity is off and compiles to nothing. A traced
  limit is a value: at 0 the gradient becomes 0, at infinity it is unchanged.

  Args:
    clip_value: largest absolute value of an entry.
    clip_layer: largest norm of the gradient of each parameter array.
    clip_adaptive: largest norm of the gradient of each output unit relative to
      the norm of the unit's weights (Brock et al. 2021, arXiv:2102.06171).
    clip_norm: largest global norm (Pascanu et al. 2013, arXiv:1211.5063).
  """
  transformations = (
    (clip_value, optax.clip),
    (clip_layer, _clip_by_layer_norm),
    (clip_adaptive, optax.adaptive_grad_clip),
    (clip_norm, optax.clip_by_global_norm),
  )
  return [
    _clip_traced(make, limit) if isinstance(limit, jax.Array) else make(limit)
    for limit, make in transformations
    if isinstance(limit, jax.Array) or 0 < limit < math.inf
  ]


def _clip_by_layer_norm(limit: Number) -> optax.GradientTransformation:
  clip = optax.clip_by_global_norm(limit)

  def update(updates: PyTree, params: PyTree = None) -> PyTree:
    del params
    return jax.tree.map(
      lambda leaf: clip.update(leaf, clip.init(leaf))[0], updates
    )

  return optax.stateless(update)


def _clip_traced(make, limit: jax.Array) -> optax.GradientTransformation:
  clip = make(limit)

  def update(updates: PyTree, params: PyTree = None) -> PyTree:
    clipped, _ = clip.update(updates, clip.init(params), params)
    # Optax computes gradient / norm * limit, which is 0 / 0 for a gradient of
    # zeros at a limit of 0, and inf / inf if the norm overflows.
    return jax.tree.map(
      lambda old, new: jnp.where((old == 0) | jnp.isinf(limit), old, new),
      updates,
      clipped,
    )

  return optax.stateless(update)

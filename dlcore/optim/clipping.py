"""Bounds on the gradient, before an optimizer sees it."""

import jax
import optax


def clipping(
  *, value: float, layer: float, adaptive: float, norm: float
) -> list[optax.GradientTransformation]:
  """Returns what bounds the gradient, in the order of the arguments.

  Args:
    value: largest absolute value of an entry; 0 is off, as for the others.
    layer: largest norm of the gradient of each array of parameters.
    adaptive: largest norm of the gradient of each output unit, as a share of
      the norm of the unit's weights (Brock et al. 2021, arXiv:2102.06171).
    norm: largest global norm (Pascanu et al. 2013, arXiv:1211.5063).
  """
  parts = (
    (value, optax.clip),
    (layer, _clip_each),
    (adaptive, optax.adaptive_grad_clip),
    (norm, optax.clip_by_global_norm),
  )
  return [make(limit) for limit, make in parts if limit]


def _clip_each(limit: float) -> optax.GradientTransformation:
  clip = optax.clip_by_global_norm(limit)

  def update(updates, params=None):
    del params
    return jax.tree.map(
      lambda leaf: clip.update(leaf, clip.init(leaf))[0], updates
    )

  return optax.stateless(update)

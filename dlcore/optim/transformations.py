"""Gradient transformations composed of those of Optax.

`lamb` and `lars` are entries of `optimizers.OPTIMIZERS`, whose decay does not
come last; the others are directions of ascent.
"""

from collections.abc import Callable

import optax

from dlcore.optim.settings import Number
from dlcore.tracing import is_zero
from dlcore.typing import Params, PyTree

Mask = Callable[[Params], PyTree]


def lamb(
  mask: Mask,
  scale_by_rates: optax.GradientTransformation,
  *,
  b1: Number = 0.9,
  b2: Number = 0.999,
  eps: Number = 1e-6,
  weight_decay: Number = 0.0,
) -> optax.GradientTransformationExtraArgs:
  """LAMB: Adam with a trust ratio (You et al. 2019, arXiv:1904.00962).

  The decay precedes the trust ratio. Parameters without decay have no trust
  ratio either and follow Adam.
  """
  return optax.chain(
    optax.scale_by_adam(b1, b2, eps),
    optax.add_decayed_weights(weight_decay, mask),
    optax.masked(optax.scale_by_trust_ratio(), mask),
    scale_by_rates,
  )


def lars(
  mask: Mask,
  scale_by_rates: optax.GradientTransformation,
  *,
  trust_coefficient: Number = 0.001,
  momentum: Number = 0.9,
  nesterov: bool = False,
  weight_decay: Number = 0.0,
) -> optax.GradientTransformationExtraArgs:
  """LARS: momentum with a trust ratio (You et al. 2017, arXiv:1708.03888).

  The decay precedes the trust ratio, which divides by the norm of the sum of
  gradient and decay; the paper divides by the sum of their norms. The learning
  rate multiplies the momentum. Parameters without decay have no trust ratio
  either and follow the momentum.
  """
  ratio = optax.scale_by_trust_ratio(trust_coefficient=trust_coefficient)
  return optax.chain(
    optax.add_decayed_weights(weight_decay, mask),
    optax.masked(ratio, mask),
    trace(momentum, nesterov),
    scale_by_rates,
  )


def trace(
  momentum: Number, nesterov: bool = False
) -> optax.GradientTransformation:
  """Returns `optax.trace`, or the identity for a concrete momentum of 0."""
  if is_zero(momentum):
    return optax.identity()
  return optax.trace(momentum, nesterov)


def rmsprop(
  *,
  decay: Number,
  eps: Number,
  initial_scale: Number,
  momentum: Number,
  nesterov: bool,
) -> optax.GradientTransformation:
  """RMSProp with momentum; Optax applies the learning rate before momentum."""
  # Not centered: by rounding, the mean square minus the square of the mean may
  # be negative, and its root NaN.
  return optax.chain(
    optax.scale_by_rms(decay, eps, initial_scale), trace(momentum, nesterov)
  )


def adafactor(
  *,
  min_dim_size_to_factor: int,
  decay_rate: Number,
  multiply_by_parameter_scale: bool,
  clipping_threshold: Number,
  momentum: Number,
  eps: Number,
) -> optax.GradientTransformation:
  """Adafactor; see `optax.adafactor` for the settings."""
  scale = optax.scale_by_param_block_rms()
  average = optax.ema(momentum, debias=False)
  return optax.chain(
    optax.scale_by_factored_rms(
      decay_rate=decay_rate,
      min_dim_size_to_factor=min_dim_size_to_factor,
      epsilon=eps,
    ),
    optax.clip_by_block_rms(clipping_threshold),
    scale if multiply_by_parameter_scale else optax.identity(),
    optax.identity() if is_zero(momentum) else average,
  )

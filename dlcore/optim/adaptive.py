"""Optimizers with a rate for every parameter, from squares of the gradient."""

import optax

from dlcore.optim.rate import Shared, descend


def adagrad(
  shared: Shared,
  *,
  accumulator: float = 0.1,
  eps: float = 1e-7,
  weight_decay: float = 0.0,
):
  """Divides by the root of the sum of squares so far (Duchi et al. 2011)."""
  return descend(shared, weight_decay, optax.scale_by_rss(accumulator, eps))


def adadelta(
  shared: Shared,
  *,
  decay: float = 0.9,
  eps: float = 1e-6,
  weight_decay: float = 0.0,
):
  """Has steps in the unit of the parameters (Zeiler 2012, arXiv:1212.5701).

  The paper has no learning rate: 1.
  """
  return descend(shared, weight_decay, optax.scale_by_adadelta(decay, eps))


def rmsprop(
  shared: Shared,
  *,
  decay: float = 0.9,
  momentum: float = 0.0,
  eps: float = 1e-8,
  weight_decay: float = 0.0,
):
  """Divides by the root mean square (Tieleman and Hinton 2012)."""
  # Not the centred variant: rounding makes its mean square less the square of
  # the mean negative, and the root NaN.
  return descend(
    shared,
    weight_decay,
    optax.scale_by_rms(decay, eps),
    optax.trace(momentum) if momentum else optax.identity(),
  )


def novograd(
  shared: Shared,
  *,
  b1: float = 0.9,
  b2: float = 0.25,
  eps: float = 1e-6,
  weight_decay: float = 0.0,
):
  """Divides by a norm of each layer (Ginsburg et al. 2019, arXiv:1905.11286).

  The paper's decay passes through the momentum; here it comes after it.
  """
  return descend(shared, weight_decay, optax.scale_by_novograd(b1, b2, eps))


def adafactor(
  shared: Shared,
  *,
  exponent: float = 0.8,
  momentum: float = 0.0,
  clip: float = 1.0,
  relative: bool = True,
  factored_from: int = 128,
  eps1: float = 1e-30,
  weight_decay: float = 0.0,
):
  """Keeps only row and column sums (Shazeer, Stern 2018, arXiv:1804.04235).

  Args:
    shared: what all optimizers are given.
    exponent: the average's decay at update t is `1 - t ** -exponent`.
    momentum: decay of an average of the steps; 0 keeps none.
    clip: largest root mean square of a step.
    relative: whether steps are multiplied by the size of the parameters.
    factored_from: smallest second dimension of a matrix that is factored.
    eps1: added to squares.
    weight_decay: decoupled.
  """
  return descend(
    shared,
    weight_decay,
    optax.scale_by_factored_rms(
      decay_rate=exponent, min_dim_size_to_factor=factored_from, epsilon=eps1
    ),
    optax.clip_by_block_rms(clip),
    optax.scale_by_param_block_rms() if relative else optax.identity(),
    optax.ema(momentum, debias=False) if momentum else optax.identity(),
  )

"""Schedule-free optimizers (Defazio et al. 2024, arXiv:2405.15682)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from dlcore.optim.settings import Number
from dlcore.typing import Params, PyTree


def schedule_free_sgd(
  mask: Callable[[Params], PyTree],
  scale_by_rates: optax.GradientTransformation,
  *,
  b1: Number = 0.9,
  weight_decay: Number = 0.0,
) -> optax.GradientTransformationExtraArgs:
  """Schedule-free SGD, with an average of iterates (arXiv:2405.15682).

  Defazio et al. 2024. For a constant rate, after a warm-up at most. The
  gradient is taken at an interpolation with weight `b1` of the average;
  evaluate and export `evaluation_params`.
  """
  decay = optax.add_decayed_weights(weight_decay, mask)
  return _schedule_free(optax.chain(decay, scale_by_rates), b1)


def schedule_free_adamw(
  mask: Callable[[Params], PyTree],
  scale_by_rates: optax.GradientTransformation,
  *,
  b1: Number = 0.9,
  b2: Number = 0.999,
  eps: Number = 1e-8,
  weight_decay: Number = 0.0,
) -> optax.GradientTransformationExtraArgs:
  """Schedule-free SGD with Adam's divisor (arXiv:2405.15682).

  The bias correction of the divisor does not enter the weights of the average,
  as in the authors' code; in the paper it does.
  """
  base = optax.chain(
    optax.scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True),
    optax.add_decayed_weights(weight_decay, mask),
    scale_by_rates,
  )
  return _schedule_free(base, b1)


def evaluation_params(opt_state: PyTree, params: Params) -> Params:
  """Returns the parameters to evaluate: schedule-free's average, or `params`.

  Args:
    opt_state: of any optimizer, possibly nested in other states.
    params: of the same step.
  """
  for state in _schedule_free_states(opt_state):
    params = _average(state, params)
  return params


def _average(state: optax.contrib.ScheduleFreeState, params: Params) -> Params:
  """Returns `params` with the average in the place of those of an optimizer.

  In `optax.partition`, an optimizer masks the parameters of the others.
  """

  def solve(z, y):  # y = b1 x + (1 - b1) z, of which x is the average.
    if isinstance(z, optax.MaskedNode):
      return y
    return ((y - (1 - state.b1) * z) / state.b1).astype(y.dtype)

  return jax.tree.map(
    solve, state.z, params, is_leaf=lambda z: isinstance(z, optax.MaskedNode)
  )


def is_schedule_free(opt_state: PyTree) -> bool:
  """Returns whether `evaluation_params` differ from the parameters."""
  return bool(_schedule_free_states(opt_state))


def _schedule_free_states(opt_state: PyTree) -> list:
  def is_state(node) -> bool:
    return isinstance(node, optax.contrib.ScheduleFreeState)

  return [
    n for n in jax.tree.leaves(opt_state, is_leaf=is_state) if is_state(n)
  ]


def _schedule_free(
  base: optax.GradientTransformation, b1: Number
) -> optax.GradientTransformationExtraArgs:
  """Averages the iterates of `base` with weights `learning_rate ** 2`."""

  def init(params):
    return optax.contrib.schedule_free(base, 0.0, b1).init(params)

  def update(updates, state, params=None, **extra_args):
    # The applied rate, not a schedule, which Optax would evaluate at a count
    # of its own.
    rate = jnp.asarray(extra_args["learning_rate"], state.max_lr.dtype)
    wrapped = optax.contrib.schedule_free(base, rate, b1)
    return wrapped.update(updates, state, params, **extra_args)

  return optax.GradientTransformationExtraArgs(init, update)

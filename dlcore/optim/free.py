"""Optimizers free of a learning rate, or of its schedule."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from dlcore.optim.rate import Shared, descend
from dlcore.typing import Params, PyTree


def prodigy(
  shared: Shared,
  *,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  d0: float = 1e-6,
  weight_decay: float = 0.0,
):
  """Estimates Adam's rate (Mishchenko, Defazio 2023, arXiv:2306.06101).

  The learning rate is a factor of the estimate: 1. It does not enter the
  estimate, which is a lower bound of the distance whatever its weights are.

  Args:
    shared: what all optimizers are given.
    b1: decay of the mean.
    b2: decay of the mean square.
    eps: added to the divisor.
    d0: the first estimate, to be small.
    weight_decay: decoupled, and multiplied by the estimate as the step is.
  """
  inner: Any = optax.contrib.prodigy(1.0, (b1, b2), eps=eps, estim_lr0=d0)

  def init(params):
    # The state keeps the parameters; a copy, so that both can be donated.
    return inner.init(jax.tree.map(jnp.copy, params))

  def update(updates, state, params: Any = None):
    steps, new = inner.update(updates, state, params)
    # The estimate is 0 / 0 as long as every gradient has been 0.
    known = jnp.isfinite(new.estim_lr)
    steps = jax.tree.map(lambda step: jnp.where(known, -step, 0), steps)
    rate = jnp.where(known, new.estim_lr, state.estim_lr)
    decay = optax.add_decayed_weights(weight_decay * rate, shared.decayed)
    steps, _ = decay.update(steps, decay.init(params), params)
    return steps, new._replace(estim_lr=rate)

  return optax.chain(optax.GradientTransformation(init, update), shared.rate)


def schedule_free_sgd(
  shared: Shared, *, beta: float = 0.9, weight_decay: float = 0.0
):
  """Averages instead of lowering the rate (Defazio 2024, arXiv:2405.15682).

  For a constant rate, with warm-up at most. `evaluation_params` are the ones
  to evaluate and to use; the gradient is taken between them and the fast ones,
  at the share `beta`.
  """
  base = descend(shared, weight_decay, optax.identity())
  return _schedule_free(shared, base, beta)


def schedule_free_adamw(
  shared: Shared,
  *,
  beta: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  weight_decay: float = 0.0,
):
  """Is `schedule_free_sgd` with Adam's divisor (arXiv:2405.15682)."""
  direction = optax.scale_by_rms(
    b2, eps, eps_in_sqrt=False, bias_correction=True
  )
  base = descend(shared, weight_decay, direction)
  return _schedule_free(shared, base, beta)


def _schedule_free(shared: Shared, base, beta: float):
  # Optax counts from 1 here. The rate is only the weight of the average.
  return optax.contrib.schedule_free(
    base, lambda count: shared.learning_rate(count - 1), b1=beta
  )


def evaluation_params(optimizer_state: PyTree, params: Params) -> Params:
  """Returns the parameters to evaluate: schedule-free's average, or `params`.

  Args:
    optimizer_state: of any optimizer, also within a chain.
    params: of the same step.
  """

  def averages(node) -> bool:
    return isinstance(node, optax.contrib.ScheduleFreeState)

  for node in jax.tree.leaves(optimizer_state, is_leaf=averages):
    if averages(node):
      return optax.contrib.schedule_free_eval_params(node, params)
  return params

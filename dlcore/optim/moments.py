"""Adam and its relatives: averages of the gradient and of its square."""

import optax

from dlcore.optim.rate import Shared, descend


def adam(
  shared: Shared,
  *,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  weight_decay: float = 0.0,
):
  """Divides the mean by the root of the mean square (arXiv:1412.6980)."""
  return descend(shared, weight_decay, optax.scale_by_adam(b1, b2, eps))


def adamw(
  shared: Shared,
  *,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  weight_decay: float = 1e-4,
):
  """Is Adam with decoupled weight decay on by default (arXiv:1711.05101)."""
  return adam(shared, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay)


def nadam(
  shared: Shared,
  *,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  weight_decay: float = 0.0,
):
  """Is Adam with Nesterov's momentum (Dozat 2016)."""
  direction = optax.scale_by_adam(b1, b2, eps, nesterov=True)
  return descend(shared, weight_decay, direction)


def adamax(
  shared: Shared,
  *,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  weight_decay: float = 0.0,
):
  """Divides by a decaying maximum instead (section 7 of arXiv:1412.6980)."""
  return descend(shared, weight_decay, optax.scale_by_adamax(b1, b2, eps))


def amsgrad(
  shared: Shared,
  *,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  weight_decay: float = 0.0,
):
  """Never lets the divisor fall (Reddi et al. 2018, arXiv:1904.09237)."""
  return descend(shared, weight_decay, optax.scale_by_amsgrad(b1, b2, eps))


def radam(
  shared: Shared,
  *,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  weight_decay: float = 0.0,
):
  """Divides once the variance is known (Liu et al. 2019, arXiv:1908.03265)."""
  return descend(shared, weight_decay, optax.scale_by_radam(b1, b2, eps))


def adabelief(
  shared: Shared,
  *,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-16,
  weight_decay: float = 0.0,
):
  """Divides by the surprise (Zhuang et al. 2020, arXiv:2010.07468)."""
  direction = optax.scale_by_belief(b1, b2, eps, eps_root=eps)
  return descend(shared, weight_decay, direction)


def yogi(
  shared: Shared,
  *,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-3,
  weight_decay: float = 0.0,
):
  """Lets the mean square move by less at a time (Zaheer et al. 2018)."""
  # Optax would start the mean at the same value as the mean square: not from 0,
  # and a parameter without a gradient would move.
  direction = optax.scale_by_yogi(b1, b2, eps, initial_accumulator_value=0.0)
  return descend(shared, weight_decay, direction)


def adan(
  shared: Shared,
  *,
  b1: float = 0.98,
  b2: float = 0.92,
  b3: float = 0.99,
  eps: float = 1e-8,
  weight_decay: float = 0.0,
):
  """Adds the change of the gradient (Xie et al. 2022, arXiv:2208.06677)."""
  direction = optax.scale_by_adan(b1, b2, b3, eps, eps_root=eps)
  return descend(shared, weight_decay, direction)


def ademamix(
  shared: Shared,
  *,
  b1: float = 0.9,
  b2: float = 0.999,
  b3: float = 0.9999,
  alpha: float = 5.0,
  eps: float = 1e-8,
  weight_decay: float = 0.0,
):
  """Adds `alpha` times a long memory (Pagliardini 2024, arXiv:2409.03137)."""
  direction = optax.contrib.scale_by_ademamix(b1, b2, b3, alpha, eps)
  return descend(shared, weight_decay, direction)


def adopt(
  shared: Shared,
  *,
  b1: float = 0.9,
  b2: float = 0.9999,
  eps: float = 1e-6,
  weight_decay: float = 0.0,
):
  """Divides by the squares before (Taniguchi et al. 2024, arXiv:2411.02853).

  The first update only measures the gradient.
  """
  direction = optax.contrib.scale_by_adopt(b1, b2, eps)
  return descend(shared, weight_decay, direction)


def lamb(
  shared: Shared,
  *,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-6,
  weight_decay: float = 0.0,
):
  """Is Adam with steps by layer norm (You et al. 2019, arXiv:1904.00962).

  The decay lies before the trust ratio; parameters that are not decayed have
  no ratio either and follow Adam.
  """
  return optax.chain(
    optax.scale_by_adam(b1, b2, eps),
    optax.add_decayed_weights(weight_decay, shared.decayed),
    optax.masked(optax.scale_by_trust_ratio(), shared.decayed),
    shared.rate,
  )

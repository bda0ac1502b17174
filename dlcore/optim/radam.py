"""RAdam (Liu et al. 2019, arXiv:1908.03265)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from dlcore.optim.bias import correct_bias, decay_exponent
from dlcore.optim.settings import Number
from dlcore.typing import Array

RECTIFIABLE = 5.0
"""Least average length at which updates are rectified, as in PyTorch.

The paper rectifies above 4, where the variance is finite.
"""
# Coefficients of x, x**2, ... in 1 / x + 1 / log(1 - x) - 1 / 2, and of a,
# a**2, ... in 1 - a / expm1(a).
GREGORY = (1 / 12, 1 / 24, 19 / 720, 3 / 160, 863 / 60480)
BERNOULLI = (1 / 2, -1 / 12, 0, 1 / 720, 0, -1 / 30240, 0, 1 / 1209600)


def scale_by_radam(
  b1: Number = 0.9, b2: Number = 0.999, eps: Number = 1e-8
) -> optax.GradientTransformation:
  """Scales as Adam, by a factor that rectifies the variance of its divisor.

  Algorithm 2 of Liu et al. 2019, arXiv:1908.03265. The first updates, for which
  the variance is not finite, are the momentum alone. `optax.scale_by_radam` is
  the same but for its rounding: 0.6% in the first rectified updates.

  Args:
    b1: decay of the average of gradients.
    b2: decay of the average of squared gradients.
    eps: added to the root of the average of squared gradients.
  """

  def init(params):
    return optax.ScaleByAdamState(
      count=jnp.zeros((), jnp.int32),
      mu=optax.tree.zeros_like(params),
      nu=optax.tree.zeros_like(params),
    )

  def update(updates, state, params=None):
    del params
    count = jnp.asarray(optax.safe_increment(state.count))
    mu = optax.tree.update_moment(updates, state.mu, b1, 1)
    nu = optax.tree.update_moment(updates, state.nu, b2, 2)
    length, longest = average_length(b2, count), 2 / (1 - b2) - 1
    factor = jnp.sqrt(
      (length - 4)
      * (length - 2)
      * longest
      / ((longest - 4) * (longest - 2) * length)
    )
    updates = jax.tree.map(
      lambda m, v: jnp.where(
        length >= RECTIFIABLE, factor * m / (jnp.sqrt(v) + eps), m
      ),
      correct_bias(mu, b1, count),
      correct_bias(nu, b2, count),
    )
    return updates, optax.ScaleByAdamState(count=count, mu=mu, nu=nu)

  return optax.GradientTransformation(init, update)


def average_length(b2: Number, count: Array) -> Array:
  """Returns rho_t, the length of the average of squared gradients, float32.

  Equation 4 of arXiv:1908.03265: `longest - 2 t b2**t / (1 - b2**t)` with
  `longest = 2 / (1 - b2) - 1`. Both terms are near `2 / (1 - b2)` at first, so
  that float32 loses their difference. With `x = 1 - b2`, `l = -log(b2)` and
  `a = t l` it is `2 (1/x - 1/l) + 2/l (1 - a / expm1(a)) - 1`, where the
  differences in brackets have series.

  Args:
    b2: decay, a number or a traced scalar.
    count: t, the number of updates, at least 1.
  """
  x = 1 - b2
  rate = decay_exponent(b2)
  gap = jnp.where(x < 0.1, 0.5 + _series(GREGORY, x), 1 / x - 1 / rate)
  # At most 80: expm1 stays finite, and the quotient is 0 there.
  a = jnp.minimum(count * rate, 80.0)
  part = jnp.where(a < 1, _series(BERNOULLI, a), 1 - a / jnp.expm1(a))
  return 2 * gap + 2 / rate * part - 1


def _series(coefficients: Sequence[float], x: Number) -> Number:
  """Returns the polynomial without a constant term."""
  return sum(c * x**power for power, c in enumerate(coefficients, 1))

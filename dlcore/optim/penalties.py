"""Penalties on the size of the parameters, added to the loss once a step."""

import re
from collections.abc import Callable

import jax.numpy as jnp

from dlcore.errors import UserError
from dlcore.trees import flatten
from dlcore.typing import Array, Params

NO_DECAY = r"(bias|scale)$"
"""Paths of the parameters that are not decayed: biases and norms."""


def penalty(
  l1: float = 0.0, l2: float = 0.0, exclude: str = NO_DECAY
) -> Callable[[Params], Array] | None:
  """Makes the function `l1 * sum|p| + l2 / 2 * sum p**2` of the parameters.

  The half makes the gradient of the L2 part `l2 * p`, as the "weight decay"
  of plain gradient descent.

  Args:
    l1: factor of the sum of absolute values (Tibshirani 1996).
    l2: factor of half the sum of squares (Krogh and Hertz 1991).
    exclude: regex over the paths of parameters that are left out.

  Returns:
    `params -> float32 scalar`, or None where both factors are 0.
  """
  if l1 < 0 or l2 < 0:
    raise UserError("expected optim.l1 >= 0 and optim.l2 >= 0", f"{l1=} {l2=}")
  if l1 == 0 and l2 == 0:
    return None

  def evaluate(params: Params) -> Array:
    total = jnp.zeros((), jnp.float32)
    for path, leaf in flatten(params).items():
      if exclude and re.search(exclude, path):
        continue
      leaf = leaf.astype(jnp.float32)
      total += l1 * jnp.sum(jnp.abs(leaf)) + l2 / 2 * jnp.sum(jnp.square(leaf))
    return total

  return evaluate

"""L1 and L2 penalties, added to the loss once per step."""

import re
from collections.abc import Callable

import jax.numpy as jnp

from dlcore.errors import check_pattern
from dlcore.optim.settings import Number, check
from dlcore.tracing import is_zero
from dlcore.trees import flatten
from dlcore.typing import Array, Params

NO_DECAY = r"(bias|scale|(^|/)(class_token|position))$"
"""Regex over the paths of parameters without weight decay.

Biases, norms, and the class token and position embedding of ViT, as in timm and
big_vision. Those of BERT and GPT-2 are decayed, as in their publications.
"""


def penalty(
  l1: Number = 0.0, l2: Number = 0.0, exclude: str = NO_DECAY
) -> Callable[[Params], Array] | None:
  """Returns the function `l1 * sum|p| + l2 / 2 * sum p**2` of the parameters.

  The half makes the gradient of the L2 part `l2 * p`, as the "weight decay"
  of plain gradient descent.

  Args:
    l1: factor of the sum of absolute values (Tibshirani 1996); it and `l2` may
      be traced.
    l2: factor of half the sum of squares (Krogh and Hertz 1991).
    exclude: regex over the paths of parameters that are not penalized; the
      empty string excludes none.

  Returns:
    `params -> float32 scalar`, or None if both factors are a concrete 0.

  Raises:
    UserError: a factor is negative, or `exclude` not a regular expression.
  """
  check({"l1": l1, "l2": l2})
  check_pattern("exclude", exclude)
  if is_zero(l1) and is_zero(l2):
    return None

  def evaluate(params: Params) -> Array:
    total = jnp.zeros((), jnp.float32)
    for path, leaf in flatten(params).items():
      if exclude and re.search(exclude, path):
        continue
      leaf = leaf.astype(jnp.float32)
      if not is_zero(l1):
        total += l1 * jnp.sum(jnp.abs(leaf))
      if not is_zero(l2):
        total += l2 / 2 * jnp.sum(jnp.square(leaf))
    return total

  return evaluate

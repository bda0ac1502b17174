"""What many models have in common: heads, batch norm, what they give out."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from dlcore.typing import Array


def logits(model: nn.Module, features: int, **settings: Any) -> nn.Dense:
  """Makes the output layer "head" of a model, within it.

  Args:
    model: with the field `dtype`.
    features: how many logits.
    **settings: of `nn.Dense`.

  Returns:
    A layer that maps `[..., D]` to float32 `[..., features]`, not rounded in
    between where the model computes in half precision.
  """
  dot = partial(lax.dot_general, preferred_element_type=jnp.float32)
  return nn.Dense(
    features, dtype=model.dtype, dot_general=dot, name="head", **settings
  )


def scores(x: Array, table: Array) -> Array:
  """Returns the products of `[B, T, D]` with each row of a table `[V, D]`.

  Returns:
    float32 `[B, T, V]`, not rounded in between where `x` is bfloat16.
  """
  table = table.astype(x.dtype)
  return jnp.einsum("BTD,VD->BTV", x, table, preferred_element_type=jnp.float32)


def batch_norm(
  model: nn.Module, *, train: bool, momentum: float = 0.9, eps: float = 1e-5
) -> Callable[..., nn.Module]:
  """Returns what makes the batch norms of a model, called with `name`.

  Args:
    model: with the fields `dtype` and `axis_name`.
    train: whether to use the statistics of the batch.
    momentum: of the averages of these.
    eps: added to the variance.
  """
  return partial(
    nn.BatchNorm,
    use_running_average=not train,
    momentum=momentum,
    epsilon=eps,
    dtype=model.dtype,
    axis_name=model.axis_name,
  )


def flat(x: Array) -> Array:
  """Maps `[B, ...]` to `[B, D]`, also where B is 0."""
  return x.reshape(x.shape[0], math.prod(x.shape[1:]))


def noted(output: Any, states: list[Array], intermediates: bool) -> Any:
  """Returns an output, with `intermediates` the pair with its states."""
  if not intermediates:
    return output
  return output, {"hidden_states": tuple(states)}

"""Output layers of models, and their intermediate activations."""

import math
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from dlcore.errors import lookup
from dlcore.layers import ACTIVATIONS, Dropout
from dlcore.typing import Array


def classifier_output(
  model: Any, x: Array, pooled: Array, *, train: bool, **settings: Any
) -> Any:
  """Applies the head of an image model; called within its compact method.

  Args:
    model: has the fields `head`, `num_classes`, `dropout` and `dtype`.
    x: `[B, ..., D]`, features before pooling.
    pooled: `[B, D]`.
    train: whether to apply dropout.
    **settings: arguments of `output_layer`.

  Returns:
    float32 logits `[B, C]`, or without a head `(x, pooled)`.
  """
  if model.head is None:
    return x, pooled
  y = Dropout(model.dropout, name="dropout")(pooled, train=train)
  return output_layer(model, model.num_classes, **settings)(y)


def output_layer(model: Any, features: Any, **settings: Any) -> nn.Dense:
  """Makes the output layer of a model, a submodule named "head".

  Args:
    model: has the field `dtype`.
    features: number of logits, an integer.
    **settings: arguments of `nn.Dense`.

  Returns:
    A layer that maps `[..., D]` to `[..., features]`. The logits are float32
    and are not rounded to half precision in between.
  """
  dot_general = partial(lax.dot_general, preferred_element_type=jnp.float32)
  return nn.Dense(
    features,
    dtype=model.dtype,
    dot_general=dot_general,
    name="head",
    **settings,
  )


def hidden_layers(model: Any, x: Array, *, train: bool) -> list[Array]:
  """Applies the hidden layers of a model; called within its compact method.

  Args:
    model: has the fields `widths`, `activation`, `dropout` and `dtype`.
    x: `[B, D]`.
    train: whether to apply dropout, to `x` and after each layer.

  Returns:
    `x` with dropout, and the output of each layer.
  """
  activation = lookup(ACTIVATIONS, model.activation, "activation")
  states = [Dropout(model.dropout, name="dropout")(x, train=train)]
  for i, width in enumerate(model.widths):
    dense = nn.Dense(width, dtype=model.dtype, name=f"dense_{i}")
    y = activation(dense(states[-1]))
    drop = Dropout(model.dropout, name=f"dropout_{i}")
    states.append(drop(y, train=train))
  return states


def embedding_logits(x: Array, embedding: Array) -> Array:
  """Computes logits by an embedding that input and output layer share.

  Args:
    x: `[B, T, D]`.
    embedding: `[V, D]`.

  Returns:
    float32 `[B, T, V]`, not rounded to half precision in between.
  """
  return jnp.einsum(
    "BTD,VD->BTV",
    x,
    embedding.astype(x.dtype),
    preferred_element_type=jnp.float32,
  )


def flatten(x: Array) -> Array:
  """Reshapes `[B, ...]` to `[B, D]`; B may be 0."""
  return x.reshape(x.shape[0], math.prod(x.shape[1:]))


def with_intermediates(
  output: Any, states: list[Array], intermediates: bool
) -> Any:
  """Returns `output`, with `intermediates` paired with the hidden states."""
  if not intermediates:
    return output
  return output, {"hidden_states": tuple(states)}

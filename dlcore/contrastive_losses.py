"""Losses of embeddings by comparison with the others of a batch.

Pure functions that return a value for each example, as in `losses`.
"""

import jax
import jax.numpy as jnp

from dlcore.typing import Array


def cosine_similarity(one: Array, other: Array) -> Array:
  """Returns the cosine of the angles between rows, float32.

  Args:
    one: float `[..., D]`.
    other: float `[..., D]`, which broadcasts.
  """
  return jnp.einsum("...D,...D->...", unit(one), unit(other))


def unit(features: Array) -> Array:
  """Returns rows divided by their norm, float32; a row of zeros stays one."""
  features = features.astype(jnp.float32)
  square = jnp.square(features).sum(-1, keepdims=True)
  # The gradient of the root of 0 would be NaN.
  return features * jax.lax.rsqrt(jnp.maximum(square, 1e-24))


def ranking_loss(scores: Array, is_candidate: Array) -> Array:
  """Returns the cross-entropy of the candidate with the number of its row.

  With cosine similarities over a temperature it is the multiple-negatives
  ranking loss (Henderson et al. 2017, arXiv:1705.00652) or InfoNCE (van den
  Oord et al. 2018, arXiv:1807.03748): -log(exp(s_ii) / sum_j exp(s_ij)).

  Args:
    scores: float `[B, B]`, of anchors in rows and candidates in columns.
    is_candidate: bool `[B, B]`, whether j is part of the sum for i. The
      diagonal always is.

  Returns:
    float32 `[B]`, in nats.
  """
  scores = scores.astype(jnp.float32)
  kept = is_candidate | jnp.eye(scores.shape[0], dtype=bool)
  total = jax.nn.logsumexp(jnp.where(kept, scores, -jnp.inf), axis=1)
  return total - jnp.diagonal(scores)


def supervised_contrastive_loss(
  features: Array, labels: Array, valid: Array, temperature: Array | float
) -> tuple[Array, Array]:
  """Returns the supervised contrastive loss within a batch, and its weights.

  Khosla et al. 2020, arXiv:2004.11362, equation 2: the mean over the other
  examples p of the class of i of -log(exp(z_i z_p / t) / sum_a exp(z_i z_a /
  t)), where a is any other example and z are features of norm 1.

  Args:
    features: float `[B, D]`.
    labels: int `[B]`.
    valid: bool `[B]`, false for padding.
    temperature: t, above 0.

  Returns:
    float32 `[B]` in nats, and the weights `[B]`: 0 for padding and for examples
    without another one of their class, whose value is 0.
  """
  rows = unit(features)
  others = ~jnp.eye(rows.shape[0], dtype=bool) & valid
  positive = others & (labels[:, None] == labels)
  scores = rows @ rows.T / temperature
  lowest = jnp.finfo(jnp.float32).min  # An infinite total has no gradient.
  total = jax.nn.logsumexp(jnp.where(others, scores, lowest), axis=1)
  count = positive.sum(1)
  nearness = jnp.where(positive, scores, 0).sum(1) / jnp.maximum(count, 1)
  weights = ((count > 0) & valid).astype(jnp.float32)
  return jnp.where(weights > 0, total - nearness, 0), weights

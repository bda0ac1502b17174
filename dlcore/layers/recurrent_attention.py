"""Recurrent cells with attention to another sequence."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from dlcore.errors import lookup
from dlcore.layers.dropout import Dropout
from dlcore.layers.recurrent_cell import CELLS, Carry, product, step
from dlcore.layers.recurrent_layers import CarryCache, cell_params
from dlcore.typing import Array


def additive_scores(query: Array, key: Array, kernel: Array) -> Array:
  """Computes additive attention scores, v^T tanh(query + key).

  Args:
    query: `[B, D]`.
    key: `[B, S, D]`.
    kernel: `[D, 1]`, v.

  Returns:
    float32 `[B, S]`.

  Bahdanau, Cho & Bengio 2015, arXiv:1409.0473, section A.1.2.
  """
  hidden = jnp.tanh(query[:, None] + key)
  return product(hidden, kernel)[..., 0]


def attend(
  scores: Array, values: Array, mask: Array | None
) -> tuple[Array, Array]:
  """Averages values, weighted by the softmax of scores.

  Args:
    scores: float32 `[B, T, S]` or `[B, S]`.
    values: `[B, S, D]`.
    mask: bool, broadcastable to the shape of the scores; True means attend.
      None means no mask.

  Returns:
    The averages, `[B, T, D]` or `[B, D]`, and the weights in float32. The
    weights of a row whose values are all masked are uniform.
  """
  if mask is not None:
    scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
  weights = jax.nn.softmax(scores, axis=-1)
  mean = jnp.einsum("B...S,BSD->B...D", weights.astype(values.dtype), values)
  return mean, weights


class AttentiveRecurrent(nn.Module):
  """Recurrent layer that attends to `values` before each step.

  The input of a step is the concatenation of `x` and the context: the average
  of `values`, weighted by `additive_scores` of the previous state.

  Attributes:
    cell: a key of `CELLS`.
    width: D, width of the state and of the hidden layer of the scores.
    recurrent_dropout: see `Recurrent`.
    dtype: dtype of the products; carries, gates and parameters are float32.

  Bahdanau, Cho & Bengio 2015, arXiv:1409.0473, section A.2.2.
  """

  cell: str
  width: int
  recurrent_dropout: float | Array = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Array,
    values: Array,
    *,
    mask: Array | None,
    carry: Carry,
    train: bool,
    decode: bool = False,
  ) -> tuple[Array, Array, Array]:
    """Maps `[B, T, F]` to outputs, contexts and attention weights.

    Args:
      x: float.
      values: `[B, S, E]`.
      mask: bool `[B, S]`, False for values to ignore; None means no mask.
      carry: float32 `[B, D]` each.
      train: whether to apply dropout.
      decode: see `Recurrent`.

    Returns:
      Outputs `[B, T, D]`, contexts `[B, T, E]` and weights `[B, T, S]`.
    """
    cell = lookup(CELLS, self.cell, "cell")
    features = x.shape[-1]
    size = features + values.shape[-1]
    params = cell_params(self, cell, size, norm=False)
    drop = Dropout(self.recurrent_dropout, name="recurrent_dropout")
    params["hidden_kernel"] = drop(params["hidden_kernel"], train=train)
    kernel = nn.initializers.lecun_normal()
    query = self.param("query_kernel", kernel, (self.width, self.width))
    score = self.param("score_kernel", kernel, (self.width, 1))
    key = nn.Dense(self.width, dtype=self.dtype, name="key")(values)
    query, score = query.astype(self.dtype), score.astype(self.dtype)
    x_kernel, context_kernel = jnp.split(params["input_kernel"], [features])
    gates = product(x, x_kernel) + params["input_bias"]
    # Rematerialized: the hidden layer of the scores is [B, S, D] per step.
    scores = jax.checkpoint(additive_scores)

    def body(carry, gates):
      queries = product(carry[0], query).astype(self.dtype)
      context, weights = attend(scores(queries, key, score), values, mask)
      gates += product(context, context_kernel)
      carry, output = step(cell, carry, gates, params)
      return carry, (output.astype(self.dtype), context, weights)

    cache = CarryCache(self, carry) if decode else None
    initial = cache.carry if cache else carry
    final, outputs = lax.scan(body, initial, jnp.swapaxes(gates, 0, 1))
    if cache:
      cache.update(final)
    return jax.tree.map(lambda array: jnp.swapaxes(array, 0, 1), outputs)

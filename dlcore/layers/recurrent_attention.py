"""Recurrent cells that look at another sequence."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from dlcore.errors import lookup
from dlcore.layers.recurrent import CarryCache, cell_params
from dlcore.layers.recurrent_cell import CELLS, Carry, product, step
from dlcore.typing import Array


def additive_scores(query: Array, key: Array, kernel: Array) -> Array:
  """Scores keys `[B, S, D]` for a query `[B, D]` by a layer of their sum.

  Args:
    query: `[B, D]`.
    key: `[B, S, D]`.
    kernel: `[D, 1]`, from the tanh of the sum to the score.

  Returns:
    float32 `[B, S]`.

  Bahdanau, Cho & Bengio 2015, arXiv:1409.0473, section A.1.2.
  """
  hidden = jnp.tanh(query[:, None] + key)
  return product(hidden, kernel)[..., 0]


def attend(
  scores: Array, values: Array, mask: Array | None
) -> tuple[Array, Array]:
  """Averages values by the softmax of scores.

  Args:
    scores: float32 `[B, T, S]` or `[B, S]`.
    values: `[B, S, D]`.
    mask: bool, of the shape of the scores or broadcast to it; None keeps all.

  Returns:
    The averages, `[B, T, D]` or `[B, D]`, and the weights in float32; all the
    same in a row of which nothing is kept.
  """
  if mask is not None:
    scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
  weights = jax.nn.softmax(scores, axis=-1)
  mean = jnp.einsum("B...S,BSD->B...D", weights.astype(values.dtype), values)
  return mean, weights


class AttentiveRecurrent(nn.Module):
  """Runs a cell that sees, at every step, what its last state asks for.

  The input of a step is `x` beside an average of `values`, weighted by
  `additive_scores` of the state before the step.

  Attributes:
    cell: a name of `CELLS`.
    width: D of the state and of the scores' hidden layer.
    dtype: of the products; carries, gates and parameters are float32.

  Bahdanau, Cho & Bengio 2015, arXiv:1409.0473, section A.2.2.
  """

  cell: str
  width: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Array,
    values: Array,
    *,
    mask: Array | None,
    carry: Carry,
    decode: bool = False,
  ) -> tuple[Array, Array, Array]:
    """Maps `[B, T, F]` to outputs `[B, T, D]`, averages and weights.

    Args:
      x: float.
      values: `[B, S, E]`.
      mask: bool `[B, S]`, of the values; None keeps all.
      carry: float32 `[B, D]` each.
      decode: as of `Recurrent`.

    Returns:
      Outputs `[B, T, D]`, averages `[B, T, E]`, weights `[B, T, S]`.
    """
    cell = lookup(CELLS, self.cell, "cell")
    features = x.shape[-1]
    size = features + values.shape[-1]
    params = cell_params(self, cell, size, norm=False)
    kernel = nn.initializers.lecun_normal()
    query = self.param("query_kernel", kernel, (self.width, self.width))
    score = self.param("score_kernel", kernel, (self.width, 1))
    key = nn.Dense(self.width, dtype=self.dtype, name="key")(values)
    query, score = query.astype(self.dtype), score.astype(self.dtype)
    own, seen = jnp.split(params["input_kernel"], [features])
    gates = product(x, own) + params["input_bias"]
    # The layer of the scores is [B, S, D] at every step: it is computed again.
    scored = jax.checkpoint(additive_scores)

    def one(carry, gates):
      asked = product(carry[0], query).astype(self.dtype)
      mean, weights = attend(scored(asked, key, score), values, mask)
      carry, output = step(cell, carry, gates + product(mean, seen), params)
      return carry, (output.astype(self.dtype), mean, weights)

    cache = CarryCache(self, carry) if decode else None
    start = cache.carry if cache else carry
    last, steps = lax.scan(one, start, jnp.swapaxes(gates, 0, 1))
    if cache:
      cache.keep(last)
    return jax.tree.map(lambda array: jnp.swapaxes(array, 0, 1), steps)

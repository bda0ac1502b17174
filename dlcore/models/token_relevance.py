"""The share of each token in a score of a model."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dlcore.typing import Array, PyTree

ROWS = 64
"""Rows of a batch with one token left out."""


def token_relevance(
  model: Any,
  variables: PyTree,
  input_ids: Array,
  weights: Array,
  arguments: Mapping[str, Array],
) -> Array | None:
  """Returns the gradient of a score times the embedding of each token.

  The sum over an example is the change of the score, to first order, from
  embeddings of zeros. Simonyan et al. 2014, arXiv:1312.6034, in the form of
  Shrikumar et al. 2017, arXiv:1605.01713.

  Args:
    model: `apply(variables, input_ids, **arguments, train=False)` returns
      outputs `[B, C]`.
    variables: of the model.
    input_ids: int `[B, T]`.
    weights: float32 `[B, C]`; the score is the weighted sum of the outputs.
    arguments: further inputs of the model.

  Returns:
    float32 `[B, T]`, or None for a model that does not embed tokens one by one,
    such as those of n-grams (`embeds_ngrams`).
  """

  if getattr(model, "embeds_ngrams", False):
    return None

  def embed(ids: Array, shift: Array | float):
    """Returns the score with shifted embeddings, and the embeddings."""
    embedded: list[Array] = []

    def intercept(next_function, positional, named, context):
      output = next_function(*positional, **named)
      is_lookup = isinstance(context.module, nn.Embed) and positional
      if not is_lookup or positional[0] is not ids or embedded:
        return output
      embedded.append(output)
      return output + shift

    with nn.intercept_methods(intercept):
      outputs = model.apply(variables, ids, **arguments, train=False)
    return jnp.sum(outputs * weights), embedded

  @jax.jit
  def relevance(ids: Array, shift: Array) -> Array:
    gradient, (embedded,) = jax.grad(embed, argnums=1, has_aux=True)(ids, shift)
    product = gradient.astype(jnp.float32) * embedded.astype(jnp.float32)
    return product.sum(-1)

  input_ids = jnp.asarray(input_ids)
  _, embedded = jax.eval_shape(lambda ids: embed(ids, 0.0), input_ids)
  if not embedded:
    return None
  return relevance(input_ids, jnp.zeros(embedded[0].shape, embedded[0].dtype))


def erasure_relevance(
  model: Any,
  variables: PyTree,
  input_ids: Array,
  weights: Array,
  arguments: Mapping[str, Array],
) -> Array:
  """Returns how much a score falls without each token.

  Li et al. 2016, arXiv:1612.08220. Arguments and result are those of
  `token_relevance`; the attention mask hides a token.
  """
  ids = jnp.asarray(input_ids)
  size, length = ids.shape
  arguments = {k: jnp.asarray(v) for k, v in arguments.items()}
  mask = arguments.pop("attention_mask", jnp.ones(ids.shape, jnp.int32))

  @jax.jit
  def relevance(variables: PyTree) -> Array:
    def score(row: Array, kept: Array) -> Array:
      others = {k: v[row][None] for k, v in arguments.items()}
      outputs = model.apply(
        variables,
        ids[row][None],
        attention_mask=kept[None],
        **others,
        train=False,
      )
      return jnp.sum(outputs[0] * weights[row])

    def fall(pair: tuple[Array, Array]) -> Array:
      row, token = pair
      without = mask[row].at[token].set(0)
      return score(row, mask[row]) - score(row, without)

    rows, tokens = jnp.divmod(jnp.arange(size * length), length)
    return jax.lax.map(fall, (rows, tokens), batch_size=ROWS)

  weights = jnp.asarray(weights)
  return relevance(variables).reshape(size, length)

"""Models after what they were given, about to tell what comes next."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dlcore.typing import Array, PyTree


class Start(NamedTuple):
  """A model that is about to tell tokens."""

  step: Callable[[PyTree, Array], tuple[PyTree, Array]]
  """`(state, ids [B]) -> (state, logits [B, V])` of the tokens after these."""

  state: PyTree
  """What the model remembers."""

  ids: Array
  """Int32 `[B]`, the tokens that the first step is given."""

  length: int
  """The number of tokens that there is room for."""

  rows: Callable[[PyTree, Array], PyTree]
  """`(state, indices [N]) -> state` of these texts."""


def after_prompt(
  model: Any,
  variables: PyTree,
  input_ids: Array,
  *,
  attention_mask: Array | None = None,
  length: int,
) -> Start:
  """Reads prompts with a model such as `models.GPT2`, in one call.

  Args:
    model: called as `(input_ids, attention_mask=, train=, decode=)`.
    variables: of the model.
    input_ids: int `[B, T]`.
    attention_mask: `[B, T]`, 1 for kept tokens, all by default. Padding may
      be on either side, and changes nothing.
    length: the number of tokens to make room for.
  """
  batch, size = input_ids.shape
  if attention_mask is None:
    attention_mask = jnp.ones((batch, size), bool)
  # To the right, so that all texts go on from the last column.
  order = jnp.argsort(attention_mask.astype(bool), axis=1, stable=True)
  ids = jnp.take_along_axis(jnp.asarray(input_ids, jnp.int32), order, 1)
  mask = jnp.take_along_axis(jnp.asarray(attention_mask), order, 1)

  def call(cache, ids, mask=None):
    return _call(model, variables, cache, ids, attention_mask=mask)

  def empty(batch):
    ids = jnp.zeros((batch, size + length - 1), jnp.int32)
    return jax.eval_shape(lambda: call(None, ids)[0])

  def step(cache, ids):
    cache, logits = call(cache, ids[:, None])
    return cache, logits[:, 0]

  cache = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), empty(batch))
  if size > 1:
    cache, _ = call(cache, ids[:, :-1], mask[:, :-1])
  return Start(step, cache, ids[:, -1], length, _rows(empty))


def after_source(
  model: Any,
  variables: PyTree,
  input_ids: Array,
  *,
  attention_mask: Array | None = None,
  start: int,
  length: int,
) -> Start:
  """Reads what is to be translated with a model such as `models.Transformer`.

  Args:
    model: with the methods `encode` and `decode`.
    variables: of the model.
    input_ids: int `[B, S]`.
    attention_mask: `[B, S]`, 1 for kept tokens, all by default.
    start: the id before the first token of a translation.
    length: the number of tokens to make room for.
  """
  if attention_mask is not None:
    attention_mask = jnp.asarray(attention_mask)
  how = {"attention_mask": attention_mask, "train": False, "method": "encode"}
  encoded = model.apply(variables, input_ids, **how)

  def call(cache, ids, encoded, mask):
    return _call(model, variables, cache, ids, encoded, mask, method="decode")

  def fill(encoded, mask):
    ids = jnp.zeros((len(encoded), length), jnp.int32)
    return call(None, ids, encoded, mask)[0], mask

  def step(state, ids):
    cache, mask = state
    # The cache has the keys and values of the source: nothing else is used.
    unused = jnp.zeros((len(ids), *encoded.shape[1:]), encoded.dtype)
    cache, logits = call(cache, ids[:, None], unused, mask)
    return (cache, mask), logits[:, 0]

  def filled(batch):
    given = (encoded, attention_mask)
    shapes = [_resized(x, batch) for x in given]
    return jax.eval_shape(fill, *shapes)

  ids = jnp.full(len(input_ids), start, jnp.int32)
  state = fill(encoded, attention_mask)
  return Start(step, state, ids, length, _rows(filled))


def _call(model, variables, cache, *inputs, **how):
  """Calls the model with a cache, or to make one: returns it and logits."""
  variables = {**variables, "cache": cache} if cache else dict(variables)
  logits, changed = model.apply(
    variables, *inputs, **how, train=False, decode=True, mutable=["cache"]
  )
  return changed["cache"], logits


def _rows(shapes: Callable[[int], PyTree]) -> Callable:
  """Returns `Start.rows` of states that are so large for so many texts."""

  def rows(state, indices):
    axes = jax.tree.map(_batch_axis, shapes(1), shapes(2))
    return jax.tree.map(
      lambda leaf, axis: leaf if axis < 0 else jnp.take(leaf, indices, axis),
      state,
      axes,
    )

  return rows


def _batch_axis(one, two) -> int:
  differ = [a != b for a, b in zip(one.shape, two.shape, strict=True)]
  return differ.index(True) if True in differ else -1


def _resized(x: Array | None, batch: int) -> jax.ShapeDtypeStruct | None:
  if x is None:
    return None
  return jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype)

"""Models after what they were given, about to predict what comes next."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dlcore.generation import checks
from dlcore.typing import Array, PyTree


class Start(NamedTuple):
  """A model that is about to predict tokens."""

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

  Raises:
    UserError: the ids, the mask or the length cannot be, are more than the
      model has positions for, or the model predicts no tokens.
  """
  checks.kind(model, translates=False)
  ids, mask = checks.prompt(model, input_ids, attention_mask, length)
  batch, size = ids.shape
  if mask is None:
    mask = jnp.ones((batch, size), bool)
  # To the right, so that all texts go on from the last column.
  order = jnp.argsort(mask, axis=1, stable=True)
  ids = jnp.take_along_axis(ids, order, 1)
  mask = jnp.take_along_axis(mask, order, 1)

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

  Models of OPUS-MT begin with the id of their padding, which they must not
  go on with: see `without`.

  Args:
    model: with the methods `encode` and `decode`.
    variables: of the model.
    input_ids: int `[B, S]`.
    attention_mask: `[B, S]`, 1 for kept tokens, all by default.
    start: the id before the first token of a translation.
    length: the number of tokens to make room for.

  Raises:
    UserError: as of `after_prompt`.
  """
  checks.kind(model, translates=True)
  source, mask = checks.prompt(model, input_ids, attention_mask, length)
  checked = checks.some_ids("start", start)

  def call(cache, ids, encoded, mask):
    return _call(model, variables, cache, ids, encoded, mask, method="decode")

  def begun(source, mask):
    how = {"attention_mask": mask, "train": False, "method": "encode"}
    encoded = model.apply(variables, source, **how)
    ids = jnp.zeros((len(source), length), jnp.int32)
    cache, logits = call(None, ids, encoded, mask)
    checks.in_vocabulary("start", checked, logits.shape[-1])
    return cache, encoded, mask

  def step(state, ids):
    cache, encoded, mask = state
    cache, logits = call(cache, ids[:, None], encoded, mask)
    return (cache, encoded, mask), logits[:, 0]

  def shapes(batch):
    given = (_resized(x, batch) for x in (source, mask))
    return jax.eval_shape(begun, *given)

  ids = jnp.full(len(source), start, jnp.int32)
  return Start(step, begun(source, mask), ids, length, _rows(shapes))


def without(start: Start, ids: Sequence[int]) -> Start:
  """Returns a start from which some tokens are never predicted.

  Args:
    start: to begin from.
    ids: of these tokens.

  Raises:
    UserError: an id is no token of the model.
  """
  forbidden = checks.some_ids("ids", ids)

  def step(state, tokens):
    state, logits = start.step(state, tokens)
    checks.in_vocabulary("ids", forbidden, logits.shape[-1])
    return state, logits.at[:, forbidden].set(-jnp.inf)

  return start._replace(step=step)


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

"""The state of a recurrent model as the collection `carry` of a task.

In the model it is the collection "cache", with which it continues a sequence;
see `layers.Recurrent`. The axis of the batch, wherever it is there, is the
first one here.
"""

import inspect
from typing import Any

import jax
import jax.numpy as jnp

from dlcore.errors import UserError
from dlcore.tasks.model_calls import CACHE
from dlcore.typing import Array, PyTree


def fresh_carry(model: Any, batch_size: int) -> PyTree:
  """Returns the state with which sequences begin, arrays `[B, ...]`.

  Raises:
    UserError: the model is not recurrent.
  """
  check_recurrent(model)
  return to_carry(model, _create_cache(model, batch_size))


def to_carry(model: Any, cache: PyTree) -> PyTree:
  """Returns the cache of a model as arrays `[B, ...]`."""
  return jax.tree.map(
    lambda leaf, axis: jnp.moveaxis(leaf, axis, 0), cache, _batch_axes(model)
  )


def to_cache(model: Any, carry: PyTree) -> PyTree:
  """Returns arrays `[B, ...]` as the cache of a model."""
  return jax.tree.map(
    lambda leaf, axis: jnp.moveaxis(leaf, 0, axis), carry, _batch_axes(model)
  )


def check_recurrent(model: Any) -> None:
  """Checks that the state of a model does not grow with the sequence.

  Raises:
    UserError: it does, as that of attention, or the model has none.
  """
  decodes = "decode" in inspect.signature(type(model).__call__).parameters
  shapes = _cache_shapes(model, 1) if decodes else {}
  if shapes and shapes == _cache_shapes(model, 2):
    return
  kind = "whose cache grows with the sequence" if shapes else "without a state"
  raise UserError(
    "expected a recurrent model for carry=True, whose state continues from "
    "row to row",
    f"got {type(model).__name__}, {kind}",
    "set carry=False",
  )


def _create_cache(model: Any, batch_size: int, length: int = 1) -> PyTree:
  ids = jnp.zeros((batch_size, length), jnp.int32)
  key = jax.random.key(0)  # Of the parameters, which are not used.
  return model.init(key, ids, train=False, decode=True).get(CACHE, {})


def _cache_shapes(model: Any, length: int) -> PyTree:
  cache = jax.eval_shape(lambda: _create_cache(model, 1, length))
  return jax.tree.map(lambda leaf: leaf.shape, cache)


def _batch_axes(model: Any) -> PyTree:
  """Returns the axis of the batch of each array of the cache."""

  def axis(one: Array, two: Array) -> int:
    pairs = zip(one.shape, two.shape, strict=True)
    return [m != n for m, n in pairs].index(True)

  caches = (
    jax.eval_shape(lambda size=size: _create_cache(model, size))
    for size in (1, 2)
  )
  return jax.tree.map(axis, *caches)

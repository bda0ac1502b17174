"""Checks of what generation is given; traced values cannot be looked at."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.errors import UserError
from dlcore.layers import kept_tokens
from dlcore.typing import Array

SMALLEST = float(np.finfo(np.float32).tiny)
LARGEST = float(np.finfo(np.float32).max)


def count(what: str, value: Any) -> None:
  """Checks that a number is whole and at least 1.

  Raises:
    UserError: it is not.
  """
  whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
  if not whole or value < 1:
    raise UserError(f"expected {what}", f"got {value!r}")


def number(what: str, value: Any, least: float, most: float) -> None:
  """Checks that a number, also one of NumPy or JAX, is within both limits.

  Raises:
    UserError: it is none, or outside of them.
  """
  if _is_traced(value):
    return
  x = np.asarray(value)
  # By JAX, since for NumPy bfloat16 is no floating type.
  real = any(jnp.issubdtype(x.dtype, k) for k in (jnp.integer, jnp.floating))
  if not real or not ((x >= least) & (x <= most)).all():
    raise UserError(f"expected {what}", f"got {value!r}")


def some_ids(what: str, ids: Any) -> Array | np.ndarray:
  """Returns one id or several, as `[N]`.

  Raises:
    UserError: they are no whole numbers, or have more than one axis.
  """
  if _is_traced(ids):
    return jnp.atleast_1d(jnp.asarray(ids, jnp.int32))
  x = np.atleast_1d(_array(what, ids))
  if not x.size:
    return np.zeros(0, np.int32)
  if x.ndim > 1 or not np.issubdtype(x.dtype, np.integer):
    raise UserError(
      f"expected {what} to be token ids, whole numbers", f"got {ids!r}"
    )
  return x


def in_vocabulary(what: str, ids: Array | np.ndarray, vocabulary: int) -> None:
  """Checks that ids are of the tokens of the model, which has so many.

  Raises:
    UserError: one is not.
  """
  if _is_traced(ids):
    return
  bad = ids[(ids < 0) | (ids >= vocabulary)]
  if bad.size:
    raise UserError(
      f"expected {what} to be of the {vocabulary:,} tokens of the model",
      f"got {int(bad[0])}",
    )


def prompt(
  model: Any, input_ids: Any, attention_mask: Any, length: Any
) -> tuple[Array, Array | None]:
  """Returns ids int32 `[B, T]` and the mask, bool `[B, T]` or None.

  Raises:
    UserError: the model predicts no tokens, or what it is given cannot be.
  """
  if getattr(model, "head", "lm") != "lm":
    raise UserError(
      'expected a model that predicts tokens, with head="lm"',
      f"got head={model.head!r}",
    )
  count("a length of at least 1 token", length)
  # By NumPy, since JAX would cut int64 to its last 32 bits.
  ids = _array("input_ids", input_ids)
  integer = jnp.issubdtype(ids.dtype, jnp.integer)
  if not integer or ids.ndim != 2 or not ids.size:
    raise UserError(
      "expected token ids, integers [B, T]", f"got {ids.dtype} of {ids.shape}"
    )
  vocabulary = getattr(model, "vocabulary", None) or np.iinfo(np.int32).max
  if not _is_traced(ids) and not (ids.min() >= 0 and ids.max() < vocabulary):
    raise UserError(
      f"expected ids from 0 to {vocabulary - 1}, as the vocabulary has them",
      f"got {ids.min()} to {ids.max()}",
    )
  ids = jnp.asarray(ids, jnp.int32)
  if attention_mask is None:
    return ids, None
  mask = kept_tokens(_array("attention_mask", attention_mask), ids.shape)
  if not _is_traced(mask) and not mask.any(1).all():
    raise UserError(
      "expected a text in every row",
      "got an attention_mask with a row that keeps no token",
      "leave such rows out",
    )
  return ids, jnp.asarray(mask)


def kind(model: Any, *, translates: bool) -> None:
  """Checks that a model translates, or that it goes on from a prompt.

  Raises:
    UserError: it is of the other kind.
  """
  # Of the class: a module that is not bound has no methods of `setup`.
  if all(hasattr(type(model), name) for name in ("encode", "decode")):
    if not translates:
      raise UserError(
        "expected a model that goes on from a prompt",
        f"got {type(model).__name__}, which translates",
        "use after_source",
      )
  elif translates:
    raise UserError(
      "expected a model with the methods encode and decode",
      f"got {type(model).__name__}",
      "use after_prompt if it goes on from a prompt",
    )


def _array(what: str, value: Any) -> Any:
  """Returns an array of NumPy, or of JAX where it is traced."""
  if _is_traced(value):
    return jnp.asarray(value)
  try:
    return np.asarray(value)
  except ValueError as error:
    raise UserError(
      f"expected {what} in rows of one length",
      "got rows of several",
      "pad the shorter ones, with 0 in attention_mask",
    ) from error


def _is_traced(value: Any) -> bool:
  leaves = jax.tree.leaves(value)
  return any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)

"""Checks of what models are given: a mistake is told with its numbers."""

import dataclasses
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dlcore.errors import UserError, lookup
from dlcore.typing import Array

DTYPES = ("float32", "bfloat16", "float16")


def settings(model: nn.Module) -> None:
  """Checks that the fields of a model hold what their annotations say.

  Rates, `float | Array`, are from 0 to below 1, or traced.

  Raises:
    UserError: names the setting and its value.
  """
  for field in dataclasses.fields(model):
    value = getattr(model, field.name)
    if field.name == "dtype":
      _dtype(value)
    elif field.type in KINDS and field.name not in ("name", "parent"):
      words, fits = KINDS[field.type]
      if not fits(value):
        raise UserError(
          f"expected {field.name} to be {words}", f"got {value!r}"
        )


def _dtype(value: Any) -> None:
  try:
    known = jnp.dtype(value).name in DTYPES
  except TypeError:
    known = False
  if not known:
    raise UserError(f"expected dtype to be one of {DTYPES}", f"got {value!r}")


def _whole(value: Any) -> bool:
  return isinstance(value, Integral) and not isinstance(value, bool)


def _real(value: Any) -> bool:
  return isinstance(value, Real) and not isinstance(value, bool)


def _rate(value: Any) -> bool:
  if isinstance(value, Array | np.ndarray):  # Also a traced one.
    return value.ndim == 0 and jnp.issubdtype(value.dtype, jnp.floating)
  return _real(value) and 0 <= value < 1


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
  return lambda value: value is None or fits(value)


def _name(value: Any) -> bool:
  return isinstance(value, str)


KINDS: dict[Any, tuple[str, Callable[[Any], bool]]] = {
  bool: ("True or False", lambda value: isinstance(value, bool)),
  int: ("a whole number", _whole),
  int | None: ("a whole number or None", _or_none(_whole)),
  float: ("a number", _real),
  str: ("a name", _name),
  str | None: ("a name or None", _or_none(_name)),
  float | Array: ("a rate from 0 to below 1", _rate),
}
"""What is expected of a field of each type, in words and as a function."""


def at_least(minimum: int, **settings: int | tuple) -> None:
  """Checks that every number in the settings is whole and not too small.

  Raises:
    UserError: names the setting and its value.
  """
  for name, value in settings.items():
    for number in _numbers(value):
      if not _whole(number) or number < minimum:
        raise UserError(
          f"expected {name} of whole numbers from {minimum}", f"got {value!r}"
        )


def _numbers(value):
  if isinstance(value, tuple | list):
    return [number for item in value for number in _numbers(item)]
  return [value]


def stages(value: Any) -> None:
  """Checks that stages hold at least one convolution each.

  Raises:
    UserError: tells the stages.
  """
  whole = isinstance(value, tuple | list) and len(value) > 0
  if not whole or not all(isinstance(s, tuple | list) and s for s in value):
    raise UserError(
      "expected stages of at least one convolution each, such as "
      "((16,), (32, 32))",
      f"got {value!r}",
    )


def head(model: nn.Module, *known: str) -> None:
  """Checks the head of a model, and that one of classes has some.

  Args:
    model: with the fields `head` and `num_classes`.
    *known: the names of its heads, beside None.

  Raises:
    UserError: names the nearest head, or tells the classes.
  """
  if model.head is None:
    return
  lookup(dict.fromkeys(known), model.head, "head")
  if model.head in ("classifier", "tokens"):
    at_least(1, num_classes=model.num_classes)


def floats(x: Array) -> None:
  """Checks that an input holds floats.

  Raises:
    UserError: tells the dtype.
  """
  if not jnp.issubdtype(x.dtype, jnp.floating):
    raise UserError(
      "expected an input of floats",
      f"got {x.dtype}",
      "divide the pixels by 255, or use a task, which scales them",
    )


def images(x: Array, *, minimum: int) -> None:
  """Checks that `x` is float images `[B, Y, X, C]` of a minimal size.

  Raises:
    UserError: tells the shape, the dtype or the size.
  """
  if x.ndim != 4:
    raise UserError(
      "expected images, [B, Y, X, C]",
      f"got an input of shape {tuple(x.shape)}",
      "use the model 'mlp' for tables",
    )
  floats(x)
  if min(x.shape[1:3]) < minimum:
    raise UserError(
      f"expected images of at least {minimum}x{minimum} pixels",
      f"got {x.shape[1]}x{x.shape[2]}",
      "use larger images, or a model that makes them smaller less often",
    )


def inputs(model: nn.Module, inputs: int, *path: str) -> None:
  """Checks that a dense layer has as many inputs as it had at `init`.

  Args:
    model: the module that holds the layer; without parameters yet all is fine.
    inputs: how many there are now.
    *path: of the layer within the module.

  Raises:
    UserError: tells both.
  """
  params = model.variables.get("params", {})
  for part in path:
    params = params.get(part, {})
  kernel = params.get("kernel")
  if kernel is not None and kernel.shape[0] != inputs:
    raise UserError(
      f"expected inputs of the size at init, {kernel.shape[0]} numbers each",
      f"got {inputs}",
      "resize them, or use a model that takes any size, such as 'resnet18'",
    )


def series(x: Array) -> None:
  """Checks that `x` is series of floats, `[B, T, F]`.

  Raises:
    UserError: tells the shape or the dtype.
  """
  if x.ndim != 3 or not jnp.issubdtype(x.dtype, jnp.floating):
    raise UserError(
      "expected series, floats [B, T, F]",
      f"got {x.dtype} of shape {tuple(x.shape)}",
      "set vocab_size to read token ids",
    )


def token_ids(
  ids: Array,
  *,
  max_length: int | None = None,
  token_type_ids: Array | None = None,
  hint: str = "use another model, such as 'cnn', for other data",
) -> None:
  """Checks that `ids` are whole numbers `[B, T]`, and their types too.

  Args:
    ids: one number a token.
    max_length: the most that the model knows positions for.
    token_type_ids: as `ids`.
    hint: what to do where the ids are none.

  Raises:
    UserError: tells the shape, the type or the length.
  """
  _integers("token ids", ids, hint)
  if max_length is not None and ids.shape[1] > max_length:
    raise UserError(
      f"expected at most {max_length} tokens, the max_length of the model",
      f"got {ids.shape[1]}",
      "cut the texts, or set max_length before training",
    )
  if token_type_ids is not None:
    _integers("token_type_ids", token_type_ids)
    if token_type_ids.shape != ids.shape:
      raise UserError(
        f"expected token_type_ids of shape {ids.shape}, one number a token",
        f"got one of shape {token_type_ids.shape}",
      )


def _integers(what: str, ids: Array, hint: str = "") -> None:
  if ids.ndim != 2 or not jnp.issubdtype(ids.dtype, jnp.integer):
    raise UserError(
      f"expected {what}, integers [B, T]",
      f"got {ids.dtype} of shape {tuple(ids.shape)}",
      hint,
    )


def same_rows(ids: Array, encoded: Array) -> None:
  """Checks that each second text `[B, T]` has a first one, `[B, S, D]`.

  Raises:
    UserError: tells both numbers.
  """
  if ids.shape[0] != encoded.shape[0]:
    raise UserError(
      f"expected {encoded.shape[0]} texts, as many as were encoded",
      f"got {ids.shape[0]}",
    )


def no_types(token_type_ids: Array | None) -> None:
  """Checks that a model without token types is not given any.

  Raises:
    UserError: it is.
  """
  if token_type_ids is not None:
    raise UserError(
      "expected no token_type_ids: this model knows no types",
      f"got an array of shape {tuple(token_type_ids.shape)}",
      "leave them out",
    )

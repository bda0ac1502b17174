"""Checks of the settings of models: a mistake is told with its numbers."""

import jax.numpy as jnp

from dlcore.errors import UserError


def at_least(minimum: int, **settings: int | tuple) -> None:
  """Checks that every number in the settings is an int and not too small.

  Raises:
    UserError: names the setting and its value.
  """
  for name, value in settings.items():
    for number in _numbers(value):
      if type(number) is not int or number < minimum:
        raise UserError(
          f"expected {name} of whole numbers from {minimum}", f"got {value!r}"
        )


def _numbers(value):
  if isinstance(value, tuple | list):
    return [number for item in value for number in _numbers(item)]
  return [value]


def images(x, *, minimum: int) -> None:
  """Checks that `x` is images `[B, Y, X, C]` of a minimal size.

  Raises:
    UserError: tells the shape or the size.
  """
  if x.ndim != 4:
    raise UserError(
      "expected images, [B, Y, X, C]",
      f"got an input of shape {tuple(x.shape)}",
      "use the model 'mlp' for tables",
    )
  if min(x.shape[1:3]) < minimum:
    raise UserError(
      f"expected images of at least {minimum}x{minimum} pixels",
      f"got {x.shape[1]}x{x.shape[2]}",
      "use larger images or a model with fewer poolings",
    )


def token_ids(ids, *, length: int) -> None:
  """Checks that `ids` are whole numbers `[B, T]`, and not too many.

  Raises:
    UserError: tells the shape, the type or the length.
  """
  if ids.ndim != 2 or not jnp.issubdtype(ids.dtype, jnp.integer):
    raise UserError(
      "expected token ids, integers [B, T]",
      f"got {ids.dtype} of shape {tuple(ids.shape)}",
    )
  if ids.shape[1] > length:
    raise UserError(
      f"expected at most {length} tokens, the length of the model",
      f"got {ids.shape[1]}",
      "cut the texts, or set length before training",
    )


def rate(**settings) -> None:
  """Checks that rates are numbers from 0 to below 1, or traced.

  Raises:
    UserError: names the setting and its value.
  """
  for name, value in settings.items():
    if isinstance(value, int | float) and not 0 <= value < 1:
      raise UserError(f"expected {name} from 0 to below 1", f"got {value!r}")

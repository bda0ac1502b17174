"""Checks of settings that are numbers and may be traced."""

import math
from numbers import Integral, Real
from typing import Any

import jax

from dlcore.errors import UserError


def check_positive(name: str, value: Any) -> None:
  """Checks that a number is finite and above 0, unless it may be traced.

  Raises:
    UserError: it is not.
  """
  if isinstance(value, jax.Array):
    return
  if not _is_number(value) or not 0 < float(value) < math.inf:
    raise UserError(f"expected {name} above 0", f"got {value!r}")


def check_dropout(name: str, value: Any) -> None:
  """Checks that a rate is at least 0 and below 1, unless it may be traced.

  Raises:
    UserError: it is not.
  """
  if isinstance(value, jax.Array):
    return
  if not _is_number(value) or not 0 <= float(value) < 1:
    raise UserError(
      f"expected {name} of at least 0 and below 1", f"got {value!r}"
    )


def check_share(name: str, value: Any) -> None:
  """Checks that a number is between 0 and 1.

  Raises:
    UserError: it is not.
  """
  if not _is_number(value) or not 0 < float(value) < 1:
    raise UserError(f"expected {name} above 0 and below 1", f"got {value!r}")


def check_count(name: str, value: Any) -> None:
  """Checks that a number is an integer of at least 1.

  Raises:
    UserError: it is not.
  """
  is_integer = isinstance(value, Integral) and not isinstance(value, bool)
  if not is_integer or value < 1:
    raise UserError(f"expected {name} of at least 1", f"got {value!r}")


def _is_number(value: Any) -> bool:
  return isinstance(value, Real) and not isinstance(value, bool)

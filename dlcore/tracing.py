"""Settings that are Python numbers, or arrays that a search varies."""

from typing import Any

import jax


def is_zero(value: Any) -> bool:
  """Returns whether a value is a Python 0, so that its term compiles away.

  An array or a traced 0 is a value like any other.
  """
  return not isinstance(value, jax.Array) and value == 0

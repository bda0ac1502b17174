"""The check that an input is an array."""

from typing import Any

from dlcore.errors import UserError


def check_array(name: str, value: Any) -> None:
  """Checks that `value` is an array of NumPy or JAX, which may be traced.

  Lists are not converted: under `jit` each of their numbers would be an
  argument of its own.

  Args:
    name: describes the input in the message: "attention_mask".
    value: the input.

  Raises:
    UserError: it has no shape or no dtype.
  """
  if not (hasattr(value, "shape") and hasattr(value, "dtype")):
    raise UserError(
      f"expected {name}, an array",
      f"got {type(value).__name__}",
      "convert it by np.asarray",
    )

"""Exports functions as StableHLO, which runs without dlcore."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from dlcore.errors import UserError
from dlcore.filesystem import first_line

PLATFORMS = ("cpu", "cuda", "tpu")

SYMBOLIC = (
  jax.errors.InconclusiveDimensionOperation,
  NotImplementedError,
  TypeError,
  ValueError,
)
"""Errors of JAX where a function requires the number that is B, or the value of
an array."""


def export_stablehlo(
  function: Callable[..., Any],
  example: Mapping[str, tuple[tuple[int, ...], Any]],
  *,
  platforms: Sequence[str] = PLATFORMS,
) -> bytes:
  """Returns a function as serialized StableHLO.

  Args:
    function: takes arrays `[B, ...]` by keyword. Arrays that it closes over
      become constants.
    example: shape without B and dtype of each argument, by name.
    platforms: where the function can run.

  Returns:
    Bytes for `jax.export.deserialize`; B is symbolic.

  Raises:
    UserError: the function depends on the value of B, or the package
      flatbuffers is not installed.
  """
  from jax import export

  batch = export.symbolic_shape("B")
  shapes = {
    name: jax.ShapeDtypeStruct((*batch, *shape), dtype)
    for name, (shape, dtype) in example.items()
  }
  try:
    exported = export.export(jax.jit(function), platforms=platforms)(**shapes)
  except SYMBOLIC as error:
    raise UserError(
      f"expected a function of {', '.join(example)} for every batch size B",
      f"got {type(error).__name__}: {first_line(error)}",
      "read B as x.shape[0], not len(x), and convert no array or shape to a "
      "Python number",
    ) from error
  try:
    return bytes(exported.serialize())
  except ImportError:
    raise UserError(
      "expected the package flatbuffers, which writes StableHLO",
      "it is not installed",
      "pip install flatbuffers",
    ) from None

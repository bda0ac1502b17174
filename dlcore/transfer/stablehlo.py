"""Exports functions as StableHLO, which runs without dlcore."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from dlcore.errors import UserError

PLATFORMS = ("cpu", "cuda", "tpu")


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
    UserError: the package flatbuffers is not installed.
  """
  from jax import export

  batch = export.symbolic_shape("B")
  shapes = {
    name: jax.ShapeDtypeStruct((*batch, *shape), dtype)
    for name, (shape, dtype) in example.items()
  }
  exported = export.export(jax.jit(function), platforms=platforms)(**shapes)
  try:
    return bytes(exported.serialize())
  except ImportError:
    raise UserError(
      "expected the package flatbuffers, which writes StableHLO",
      "it is not installed",
      "pip install flatbuffers",
    ) from None

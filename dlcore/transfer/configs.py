"""What a config.json says of a model, and whether it can be true."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from dlcore.errors import UserError
from dlcore.transfer import files
from dlcore.transfer.families import Family

MISTAKES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a config.json of wrong values raises where these are used."""

LARGEST = 2**31 - 1
"""Of the numbers of a config.json."""

DEPTHS = ("depth", "target_depth", "depths", "stages")
"""The fields of models that count blocks."""

WIDTHS = (
  "width",
  "widths",
  "hidden",
  "target_hidden",
  "vocabulary",
  "heads",
  "head_size",
)
"""Some that are sizes of arrays, or divide one."""

SILENT = (
  "heads",
  "key_value_heads",
  "target_heads",
  "activation",
  "pooler_activation",
  "theta",
  "stretch",
  "tied",
  "pre_norm",
  "scaled",
  "halves",
  "pool",
  "padding",
)
"""The fields that change what a model computes, but no shape."""

SMALL = ("epsilon",)
"""Those that change it by little."""


def differing(
  config: Mapping[str, Any], family: Family, model: Any, allow: str
) -> dict[str, str]:
  """Compares what a config.json says of a model with one that was built.

  Returns:
    The settings that differ, and how.

  Raises:
    UserError: the weights are of a model that computes something else.
  """
  if config.get("quantization_config"):
    raise UserError(
      "expected weights that are not quantised",
      "got a quantization_config in config.json",
      "take the original weights",
    )
  try:
    # Weights of another head may be read: that is not of the base.
    published = family.build({**config, "architectures": None})
  except MISTAKES:
    return {}  # It is incomplete, and the weights have to do.
  except UserError as error:
    if _allows(allow, "config.json"):
      return {"config.json": " ".join(error.lines[1:])}
    raise UserError(
      error.lines[0],
      " ".join(error.lines[1:]),
      "load the file itself, or allow it: allow='^config.json$'",
    ) from error
  found = {}
  for name in (*SILENT, *SMALL):
    theirs, ours = _setting(published, name), _setting(model, name)
    if theirs == ours or (name == "tied" and model.head != "lm"):
      continue
    found[name] = f"{theirs!r} published, {ours!r} here"
    if name in SILENT and not _allows(allow, f"model.{name}"):
      raise UserError(
        f"expected a model with {name}={theirs!r}, as the weights have it",
        f"got {ours!r}",
        f"set it, or allow it: allow='^model.{name}$'",
      )
  return found


def _setting(model: Any, name: str) -> Any:
  """Returns a setting; 0 key and value heads, say, are as many as the heads."""
  value = getattr(model, name, None)
  return model.heads if value == 0 and name.endswith("_heads") else value


def _allows(allow: str, name: str) -> bool:
  return bool(allow and re.search(allow, name))


def check_numbers(value: Any) -> None:
  """Refuses whole numbers that no array could have as a size.

  Raises:
    ValueError: tells the number.
  """
  if isinstance(value, Mapping):
    value = list(value.values())
  if isinstance(value, list):
    for part in value:
      check_numbers(part)
  elif isinstance(value, int) and abs(value) > LARGEST:
    raise ValueError(f"the number {files.shown(value)}")


def check_sizes(model: Any, arrays: Mapping[str, np.ndarray]) -> None:
  """Refuses a model that is too large for its weights, before it is traced.

  A width needs an array at least as long, and a block has arrays of its own.

  Raises:
    ValueError: tells the field and the number.
  """
  elements = sum(array.size for array in arrays.values())
  for field in dataclasses.fields(model):
    value = getattr(model, field.name)
    if field.name in DEPTHS and not getattr(model, "scan", False):
      counts = value if isinstance(value, tuple) else (value,)
      blocks = sum(n if isinstance(n, int) else len(n) for n in counts)
      at_most(field.name, blocks, len(arrays))
    elif field.name in WIDTHS:
      for number in value if isinstance(value, tuple) else (value,):
        at_most(field.name, number, elements)


def at_most(name: str, number: int, most: int) -> None:
  """Refuses a number that is larger than it can be.

  Raises:
    ValueError: tells both.
  """
  if number and number > most:
    raise ValueError(f"{name}={number:,}, above {most:,}")

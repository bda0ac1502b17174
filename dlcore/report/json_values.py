"""Numbers and mappings from JSON values of unknown type."""

from collections.abc import Mapping
from typing import Any


def as_number(value: object) -> float | None:
  """Returns `value` as a float, or None if it is not a number."""
  if isinstance(value, bool) or not isinstance(value, int | float):
    return None
  try:
    return float(value)
  except OverflowError:
    return float("inf")


def as_numbers(value: object) -> dict[str, float]:
  """Returns the entries of a mapping that are numbers."""
  entries = {key: as_number(entry) for key, entry in as_mapping(value).items()}
  return {key: entry for key, entry in entries.items() if entry is not None}


def as_mapping(value: object) -> Mapping[str, Any]:
  """Returns `value` if it is a mapping, else an empty one."""
  return value if isinstance(value, Mapping) else {}

"""What `assets/data.json` must say before anything is built from it."""

import math
from collections.abc import Mapping
from typing import Any

INPUTS = {"image": 3, "features": 1}
"""The arrays that a model may read, and the axes of one example."""

DTYPES = ("uint8", "float32")

LARGEST = 1 << 28
"""Of one example, in numbers."""


def problem(about: Mapping[str, Any]) -> str:
  """Returns what is wrong with the description of a run's data, or ""."""
  try:
    for name, is_good in CHECKS.items():
      if not is_good(about.get(name), about):
        return f"{name}={about.get(name)!r}"[:200]
  except (TypeError, ValueError, LookupError, OverflowError) as error:
    return f"{type(error).__name__}: {error}"[:200]
  return ""


def _shape(shape, about) -> bool:
  whole = all(type(size) is int and size > 0 for size in shape)
  axes = INPUTS[about["input"]]
  return whole and len(shape) == axes and math.prod(shape) <= LARGEST


def _names(names, _) -> bool:
  return isinstance(names, list) and all(
    isinstance(name, str) for name in names
  )


def _optional_names(names, about) -> bool:
  return names is None or (len(names) > 0 and _names(names, about))


def _normalization(values, about) -> bool:
  if values is None:
    return True
  numbers = [*values["mean"], *values["std"]]
  sizes = {len(values["mean"]), len(values["std"])}
  good = all(isinstance(n, float | int) and math.isfinite(n) for n in numbers)
  return good and sizes == {about["shape"][-1]}


def _target_normalization(values, _) -> bool:
  return values is None or (
    math.isfinite(values["mean"]) and math.isfinite(values["std"])
  )


def _splits(splits, _) -> bool:
  return isinstance(splits, dict) and all(
    isinstance(sums, dict) for sums in splits.values()
  )


def _encoding(entries, about) -> bool:
  """Whether the columns of a table make the features of the model."""
  if about["input"] != "features":
    return True
  names = about.get("columns")
  widths = [
    1 if entry["categories"] is None else len(entry["categories"])
    for entry in entries or ()
    if _names([entry["column"]], about)
    and (entry["categories"] is None or _names(entry["categories"], about))
  ]
  width = about["shape"][0]
  whole = entries is None or (
    len(widths) == len(entries) and sum(widths) == width
  )
  return whole and (
    names is None or (_names(names, about) and len(names) == width)
  )


CHECKS = {
  "name": lambda name, _: isinstance(name, str),
  "input": lambda name, _: name in INPUTS,
  "shape": _shape,
  "dtype": lambda dtype, _: dtype in DTYPES,
  "classes": _optional_names,
  "normalization": _normalization,
  "target_normalization": _target_normalization,
  "encoding": _encoding,
  "splits": _splits,
}
"""Each takes the value and the whole; `shape` comes before what needs it."""

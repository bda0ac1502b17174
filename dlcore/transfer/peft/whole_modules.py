"""Reads the arrays of PEFT's `modules_to_save`."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from dlcore.errors import UserError, nearest
from dlcore.filesystem import quoted
from dlcore.transfer import array_checks, load_errors
from dlcore.transfer.families import name_rules
from dlcore.transfer.families.name_rules import Assignment, Read
from dlcore.transfer.peft import module_names
from dlcore.transfer.peft.adapter_config import AdapterConfig
from dlcore.transfer.selection import SelectedFamily
from dlcore.transfer.stacked_blocks import LeafSlice


def read(
  selected: SelectedFamily,
  arrays: Mapping[str, np.ndarray],
  sources: Mapping[str, str],
  slices: Mapping[str, LeafSlice],
) -> dict[str, np.ndarray]:
  """Returns arrays in the model's layout by path.

  Args:
    selected: the family and its name rules for the model.
    arrays: by their names in the folder, without PEFT's prefix.
    sources: names in the folder by the names of the rules.
    slices: arrays of the model by path.

  Raises:
    UserError: an array is unknown, of another shape or dtype, not finite, or
      contradicts another one.
  """
  renamed = {
    n: arrays[source] for n, source in sources.items() if source in arrays
  }
  plan = name_rules.assign(selected.rules, renamed, slices)
  found = {}
  for item in plan.reads:
    found |= _pieces(item, renamed[item.name], slices)
  _check_unused(selected, plan, renamed, slices)
  return found


def _pieces(
  item: Read, array: np.ndarray, slices: Mapping[str, LeafSlice]
) -> dict[str, np.ndarray]:
  """Returns the model's arrays that a published array contains.

  Raises:
    UserError: it has another shape or dtype, or a value is not finite.
  """
  array_checks.check_dtype(item.name, array.dtype, np.dtype(np.float32))
  shapes = [slices[path].shape for path in item.paths]
  try:
    pieces = array_checks.split(item, array)
    actual = [piece.shape for piece in pieces]
  except ValueError:
    pieces, actual = (), [array.shape]
  if actual != shapes:
    expected = ", ".join(str(list(shape)) for shape in shapes)
    raise UserError(
      f"expected the shape {expected} of {', '.join(item.paths)}",
      f"got {list(actual[0])} of {quoted(item.name)} in the folder",
      "choose an adapter of this model, such as one with as many classes",
    )
  array_checks.check_finite(item.name, array)
  return dict(zip(item.paths, pieces, strict=True))


def _check_unused(
  selected: SelectedFamily,
  plan: Assignment,
  arrays: Mapping[str, np.ndarray],
  slices: Mapping[str, LeafSlice],
) -> None:
  """Checks that all arrays have a path, or are copies of one that has.

  Raises:
    UserError: one has none.
  """
  by_path = {path: item.name for item in plan.reads for path in item.paths}
  ignored = selected.family.ignored
  for name in plan.unused:
    paths = name_rules.paths(selected.rules, name)
    copies = [by_path[path] for path in paths if path in by_path]
    if copies and np.array_equal(arrays[copies[0]], arrays[name]):
      continue
    if copies or not (ignored and re.search(ignored, name)):
      known = [name_rules.names(selected.rules, path)[:1] for path in slices]
      raise UserError(
        "expected arrays of modules_to_save that the model has",
        f"got {quoted(name)}"
        + (f", which differs from {quoted(copies[0])}" if copies else ""),
        nearest(name[:200], [n for names in known for n in names][:400]),
      )


def check_complete(
  selected: SelectedFamily,
  config: AdapterConfig,
  arrays: Mapping[str, Any],
  slices: Mapping[str, LeafSlice],
) -> None:
  """Checks that all arrays of `modules_to_save` are in the folder.

  Modules that the model lacks are not required.

  Raises:
    UserError: one is missing.
  """
  missing = [
    path
    for path in slices
    if path not in arrays
    for item in [name_rules.read_of(selected.rules, path)]
    if item and _is_saved(item.name, config)
  ]
  if missing:
    raise UserError(
      "expected the arrays of modules_to_save, "
      f"{load_errors.listed([quoted(n) for n in config.modules_to_save])}",
      f"got none of {load_errors.listed(missing)}",
      "download or write the folder again",
    )


def _is_saved(name: str, config: AdapterConfig) -> bool:
  """Returns whether a published array is part of `modules_to_save`."""
  parts = name.split(".")[:-1]
  modules = [".".join(parts[: i + 1]) for i in range(len(parts))]
  return any(
    module_names.is_end(end, module)
    for end in config.modules_to_save
    for module in modules
  )

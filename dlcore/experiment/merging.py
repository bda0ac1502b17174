"""Merges values into the tree of defaults, in the types of the defaults."""

import math
from collections.abc import Mapping
from typing import Any

from dlcore.errors import UserError, nearest
from dlcore.experiment.renames import REMOVED, renamed


def merge(
  tree: dict[str, Any],
  values: Mapping[str, Any],
  entries: Mapping[str, str],
  path: str = "",
) -> None:
  """Replaces leaves of `tree` in place.

  Args:
    tree: of defaults.
    values: some sections and leaves of it.
    entries: the name in each section with a table.
    path: of `tree` in the config, with a dot at its end.

  Raises:
    UserError: a key is unknown (with its new name or the nearest key), or a
      value is of another type than its default.
  """
  for key, value in values.items():
    where = f"{path}{key}"
    if key not in tree:
      successor = renamed(where, entries)
      hint = f"it is now {successor}" if successor else nearest(key, tree)
      raise UserError(
        "expected a known setting",
        f"got config.{where}={value!r}",
        REMOVED.get(where, hint),
      )
    if isinstance(tree[key], Mapping):
      if not isinstance(value, Mapping):
        raise UserError(f"expected a section config.{where}", f"got {value!r}")
      merge(tree[key], value, entries, f"{where}.")
    else:
      tree[key] = typed(tree[key], value, where)


def typed(default: Any, value: Any, path: str) -> Any:
  """Returns `value` in the type of its default."""
  try:
    return _like(default, value)
  except TypeError:
    raise UserError(
      f"expected config.{path} of type {type(default).__name__}, such as "
      f"{default!r}",
      f"got {value!r}",
    ) from None
  except (ValueError, OverflowError):  # A long integer in place of a float.
    raise UserError(
      f"expected finite numbers in config.{path}", f"got {value!r}"
    ) from None


def _like(default: Any, value: Any) -> Any:
  """Returns `value` in the type of `default`; JSON's lists become tuples."""
  if isinstance(default, tuple) and isinstance(value, list | tuple):
    if not default:
      return _tuple(value)
    # The first item stands for all.
    return tuple(_like(default[0], item) for item in value)
  if default == () and isinstance(value, str):
    return (value,)  # A word alone, such as class_weights="balanced".
  if isinstance(default, float) and type(value) is int:
    value = float(value)
  if type(value) is not type(default):
    raise TypeError
  if isinstance(value, float) and not math.isfinite(value):
    raise ValueError
  return value


def _tuple(value: Any) -> Any:
  if isinstance(value, list | tuple):
    return tuple(_tuple(item) for item in value)
  return value

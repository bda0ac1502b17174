"""Trees of arrays addressed by path, such as `"conv_0/kernel"`."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import numpy as np

from dlcore.typing import PyTree

T = TypeVar("T")


def flatten(tree: PyTree) -> dict[str, Any]:
  """Returns the leaves by path: `{"conv_0/kernel": ..., "dense/bias": ...}`."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {path_name(path): leaf for path, leaf in leaves}


def path_name(path: Sequence[Any]) -> str:
  """Joins a key path of `jax.tree_util` into `"a/b/0"`."""
  return jax.tree_util.keystr(tuple(path), simple=True, separator="/")


def map_with_path(
  function: Callable[..., Any], tree: PyTree, *rest: PyTree
) -> PyTree:
  """Maps `function(path, leaf, ...)` over the leaves, path as `"a/b"`."""
  return jax.tree_util.tree_map_with_path(
    lambda path, *leaves: function(path_name(path), *leaves), tree, *rest
  )


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
  """Turns `{"a/b": 1}` into `{"a": {"b": 1}}`, the inverse of `flatten`."""
  nested: dict[str, Any] = {}
  for path, leaf in flat.items():
    *parents, last = path.split("/")
    node = nested
    for parent in parents:
      node = node.setdefault(parent, {})
    node[last] = leaf
  return nested


def restore(template: T, flat: Mapping[str, Any]) -> T:
  """Returns `template` with its leaves, arrays, replaced by those of `flat`.

  Empty dicts in `template` have no leaves and are kept.

  Raises:
    ValueError: a path is missing or unexpected, or a shape or dtype differs.
  """
  expected = flatten(template)
  for path in sorted(expected.keys() ^ flat.keys()):
    reason = "missing" if path in expected else "unexpected"
    raise ValueError(f"{path} is {reason}")
  for path, leaf in expected.items():
    actual = (flat[path].shape, flat[path].dtype)
    if actual != (leaf.shape, leaf.dtype):
      raise ValueError(
        f"{path} has {actual}, expected {(leaf.shape, leaf.dtype)}"
      )
  leaves = [flat[path] for path in expected]
  return jax.tree.unflatten(jax.tree.structure(template), leaves)


def select(rules: Sequence[tuple[str, T]], path: str, default: T) -> T:
  """Returns the value of the first rule whose regex matches within `path`."""
  for pattern, value in rules:
    if re.search(pattern, path):
      return value
  return default


def partition(
  tree: Mapping[str, Any], pattern: str
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Splits nested dicts by a regular expression over the paths.

  Args:
    tree: nested dicts. None is not a leaf and is dropped.
    pattern: regular expression; it may match anywhere within a path.

  Returns:
    `(rest, matched)`: nested dicts of the leaves whose path does not match,
    and of those whose path does, without empty sub-dicts. `merge` is the
    inverse.
  """

  def prune(node: Mapping[str, Any], prefix: str, match: bool) -> dict:
    kept = {}
    for key, child in node.items():
      path = f"{prefix}{key}"
      if isinstance(child, Mapping):
        if subtree := prune(child, f"{path}/", match):
          kept[key] = subtree
      elif child is not None and bool(re.search(pattern, path)) == match:
        kept[key] = child
    return kept

  return prune(tree, "", False), prune(tree, "", True)


def merge(
  first: Mapping[str, Any], second: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns nested dicts with the leaves of both trees.

  Raises:
    ValueError: a path is in both trees.
  """
  merged = dict(first)
  for key, value in second.items():
    if key not in merged:
      merged[key] = value
    elif isinstance(merged[key], Mapping) and isinstance(value, Mapping):
      try:
        merged[key] = merge(merged[key], value)
      except ValueError as error:
        raise ValueError(f"{key}/{error}") from None
    else:
      raise ValueError(f"{key} is in both trees")
  return merged


def count(tree: PyTree) -> int:
  """Returns the number of scalars in all leaves."""
  return sum(int(np.prod(np.shape(leaf))) for leaf in jax.tree.leaves(tree))

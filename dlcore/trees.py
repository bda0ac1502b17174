"""Leaves by path: nested dicts in and out, rules over paths, counts."""

import re
from collections.abc import Mapping, Sequence
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


def map_with_path(function, tree: PyTree, *rest: PyTree) -> PyTree:
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
  """Fills the leaves of `template`, which are arrays, from `flat`, by path.

  Raises:
    ValueError: a path is missing or left over, or shape or dtype differ.
  """
  wanted = flatten(template)
  for path in sorted(wanted.keys() ^ flat.keys()):
    where = "missing" if path in wanted else "left over"
    raise ValueError(f"{path} is {where}")
  for path, leaf in wanted.items():
    have = (flat[path].shape, flat[path].dtype)
    want = (leaf.shape, leaf.dtype)
    if have != want:
      raise ValueError(f"{path} has {have}, expected {want}")
  leaves = [flat[path] for path in wanted]
  return jax.tree.unflatten(jax.tree.structure(template), leaves)


def select(rules: Sequence[tuple[str, T]], path: str, default: T) -> T:
  """Returns the value of the first rule whose regex is found in `path`."""
  for pattern, value in rules:
    if re.search(pattern, path):
      return value
  return default


def partition(tree: T, pattern: str) -> tuple[T, T]:
  """Returns the leaves whose path `pattern` is not found in, and the others.

  Both have the nodes of `tree`, with None for the leaves of the other one,
  which JAX takes for no leaf at all.
  """

  def part(found: bool) -> T:
    return map_with_path(
      lambda path, leaf: (
        leaf if bool(re.search(pattern, path)) == found else None
      ),
      tree,
    )

  return part(False), part(True)


def merge(tree: T, part: PyTree) -> T:
  """Returns `tree` with the leaves of `part` in place of those of their path.

  The inverse of `partition`, whose parts hold None for what they lack.
  """
  given = flatten(part)
  return jax.tree_util.tree_map_with_path(
    lambda path, leaf: given.get(path_name(path), leaf),
    tree,
    is_leaf=lambda leaf: leaf is None,
  )


def count(tree: PyTree) -> int:
  """Returns the number of scalars in all leaves."""
  return sum(int(np.prod(np.shape(leaf))) for leaf in jax.tree.leaves(tree))

"""Rules from the path and shape of an array to its layout over the mesh."""

import re
from collections.abc import Sequence

from jax.sharding import PartitionSpec

from dlcore.trees import map_with_path
from dlcore.typing import PyTree

DATA_AXIS = "data"
"""The mesh axis over which the rows of a batch are split."""

Rule = tuple[str, PartitionSpec]
"""A regular expression over paths, and the layout of the arrays it matches."""

STATE_RULES: tuple[Rule, ...] = (
  (r"^model_state/carry/", PartitionSpec(DATA_AXIS)),
)
"""Data parallelism: carried state is split over its rows, the rest of the
train state is replicated."""


def partition_specs(tree: PyTree, rules: Sequence[Rule]) -> PyTree:
  """Returns the `PartitionSpec` of every leaf.

  Args:
    tree: arrays or their shapes.
    rules: the first whose expression is found in the path of a leaf applies;
      without any the leaf is replicated. A scalar is always replicated.
  """

  def spec(path: str, leaf) -> PartitionSpec:
    for pattern, layout in rules:
      if leaf.ndim and re.search(pattern, path):
        return layout
    return PartitionSpec()

  return map_with_path(spec, tree)

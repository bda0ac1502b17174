"""The content of the page about features."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from dlcore.representation import (
  Neighbors,
  ProbeResults,
  Projection,
  SimilarPairs,
)


class FeaturePage(NamedTuple):
  """The content of the page about N examples."""

  model: str
  noun: str
  """Of the examples: "images" or "texts"."""

  names: list[str]
  show: Callable[[int], np.ndarray | str]
  """`row -> image uint8 [Y, X, C], or text`."""

  show_query: Callable[[str], np.ndarray | str]
  """Likewise, of a query."""

  classes: Sequence[str]
  labels: np.ndarray
  """int `[N]`, -1 without a label."""

  width: int
  """D."""

  projection: Projection
  probes: ProbeResults | None
  pairs: SimilarPairs | None
  threshold: float
  neighbors: Sequence[tuple[int, Neighbors]]
  """Rows with their neighbors `[K]`."""

  queries: Sequence[tuple[str, Neighbors]]
  """Queries with their neighbors `[1, K]`."""

  errors: Sequence[tuple[str, str]]
  """`(name, reason)` of the examples without features."""

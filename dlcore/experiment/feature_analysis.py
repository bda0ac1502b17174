"""Measures of the features of examples: probes, similar pairs, neighbors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlcore import representation
from dlcore.data import bad_examples
from dlcore.experiment.feature_inputs import Example
from dlcore.representation import Neighbors, ProbeResults, SimilarPairs
from dlcore.status_line import status

MAX_COMPARED = 20_000
"""Examples up to which all pairs are compared without `duplicates`."""

MAX_PAIRS = 10_000
SIMILARITY = 0.98
"""Least cosine similarity of near duplicates, by default."""


class Analysis(NamedTuple):
  """The features of all examples that could be read, and their measures."""

  examples: Sequence[Example]
  """N examples."""

  values: np.ndarray
  """float32 `[N, D]`."""

  errors: Sequence[tuple[str, str]]
  """`(name, reason)` of the examples without features."""

  classes: tuple[str, ...]
  """The labels, sorted; empty without labels."""

  labels: np.ndarray
  """int64 `[N]`, positions in `classes`, -1 without a label."""

  probes: ProbeResults | None
  """None without labels."""

  pairs: SimilarPairs | None
  """The most similar pairs; None if the examples were not compared."""

  threshold: float
  """Least similarity of `pairs`."""

  queries: Sequence[tuple[str, Neighbors]]
  """Each query with its neighbors `[1, K]`."""

  def neighbor_lines(self) -> list[dict[str, Any]]:
    """Returns the neighbors of the queries as JSON data."""
    return [
      {"query": query, "similarity": round(value, 4), **self.describe(row)}
      for query, (index, similarity) in self.queries
      for row, value in zip(
        index[0].tolist(), similarity[0].tolist(), strict=True
      )
    ]

  def pair_lines(self) -> list[dict[str, Any]]:
    """Returns the similar pairs as JSON data."""
    if self.pairs is None:
      return []
    arrays = (array.tolist() for array in self.pairs[:3])
    return [
      {
        "similarity": round(value, 4),
        "first": self.examples[i].name,
        "second": self.examples[j].name,
      }
      for i, j, value in zip(*arrays, strict=True)
    ]

  def pair_count(self) -> str:
    """Returns how many similar pairs there are, and how many are kept."""
    assert self.pairs is not None
    kept, total = len(self.pairs.first), self.pairs.total
    listed = f", of which the first {kept:,} are kept" if kept < total else ""
    noun = "pair" if total == 1 else "pairs"
    return f"{total:,} {noun} of similarity {self.threshold:g} or more{listed}"

  def probe_lines(self) -> list[str]:
    """Returns the accuracies of the probes, and remarks, a line each."""
    if self.probes is None:
      return []
    lines = [
      f"{name}: {accuracy:.1%} ({low:.1%} to {high:.1%})"
      for name, _, accuracy, (low, high) in self.probes.probes
    ]
    return [*lines, *self.probes.remarks]

  def error_names(self) -> str:
    """Returns the first errors with their reasons."""
    listed = [f"{name}: {reason}" for name, reason in self.errors]
    return bad_examples.shorten(listed, "; ")[:1000]

  def describe(self, row: int) -> dict[str, Any]:
    """Returns input, text and label of an example as JSON data."""
    name, content, label = self.examples[row]
    text = {} if isinstance(content, Path) else {"text": content}
    return {"input": name, **text, "label": label}


def analyze(
  examples: Sequence[Example],
  values: np.ndarray,
  errors: Sequence[tuple[str, str]],
  *,
  queries: Sequence[tuple[str, np.ndarray]],
  neighbors: int,
  duplicates: float | None,
) -> Analysis:
  """Returns the measures of features.

  Args:
    examples: N examples.
    values: their features, finite, float32 `[N, D]`.
    errors: `(name, reason)` of the examples without features.
    queries: pairs of a query and its features `[D]`.
    neighbors: K.
    duplicates: least similarity of pairs; None for `SIMILARITY`, and for no
      comparison of very many examples.
  """
  classes, labels = _number_labels(examples)
  unit = representation.unit_rows(values)
  threshold = SIMILARITY if duplicates is None else duplicates
  pairs, probes = None, None
  if duplicates is not None or len(unit) <= MAX_COMPARED:
    with status("comparing all pairs of examples"):
      pairs = representation.similar_pairs(unit, threshold, MAX_PAIRS)
  if classes:
    with status("fitting the probes"):
      probes = representation.probe(values, labels, classes)
  near = tuple(
    (
      query,
      representation.nearest_neighbors(
        representation.unit_rows(row[None]), unit, neighbors
      ),
    )
    for query, row in queries
  )
  return Analysis(
    examples, values, errors, classes, labels, probes, pairs, threshold, near
  )


def _number_labels(
  examples: Sequence[Example],
) -> tuple[tuple[str, ...], np.ndarray]:
  """Returns the classes, and the position of each label among them."""
  names = sorted({e.label for e in examples if e.label is not None})
  numbers = {name: i for i, name in enumerate(names)}
  labels = [-1 if e.label is None else numbers[e.label] for e in examples]
  return tuple(names), np.array(labels, np.int64)

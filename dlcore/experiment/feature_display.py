"""The page of a folder of features."""

from pathlib import Path
from typing import Any

import numpy as np

from dlcore import representation
from dlcore.data.images.decoding import UnreadableError
from dlcore.experiment.feature_analysis import Analysis
from dlcore.experiment.feature_extraction import FeatureExtractor
from dlcore.report.feature_content import FeaturePage
from dlcore.representation import Neighbors

NEIGHBORS, EXAMPLES = 7, 10
"""Neighbors of an example on the page, and their examples."""


def make_page(extractor: FeatureExtractor, analysis: Analysis) -> FeaturePage:
  """Returns the content of the page."""
  schema: Any = extractor.info.schema
  shape = extractor.info.inputs[schema.input][0]

  def show(content: Path | str) -> np.ndarray | str:
    if extractor.reads_texts:
      return str(content).replace("\t", " | ")
    try:
      return schema.decode(Path(content), shape)
    except UnreadableError as error:  # It was removed in the meantime.
      return str(error)

  unit = representation.unit_rows(analysis.values)
  rows = _examples(analysis.labels)
  near = representation.nearest_neighbors(unit[rows], unit, NEIGHBORS + 1)
  return FeaturePage(
    model=str(extractor.path),
    noun="texts" if extractor.reads_texts else "images",
    names=[example.name for example in analysis.examples],
    show=lambda row: show(analysis.examples[row].content),
    show_query=show,
    classes=analysis.classes,
    labels=analysis.labels,
    width=analysis.values.shape[1],
    projection=representation.project(analysis.values),
    probes=analysis.probes,
    pairs=analysis.pairs,
    threshold=analysis.threshold,
    neighbors=[
      (row, _without(row, Neighbors(*pair)))
      for row, *pair in zip(rows.tolist(), *near, strict=True)
    ],
    queries=analysis.queries,
    errors=analysis.errors,
  )


def _examples(labels: np.ndarray) -> np.ndarray:
  """Returns a row of each of the largest classes, or evenly spaced rows."""
  counts = np.bincount(labels[labels >= 0])
  if np.count_nonzero(counts) < 2:
    count = min(len(labels), EXAMPLES)
    return np.linspace(0, len(labels) - 1, count).astype(np.int64)
  largest = np.sort(np.argsort(-counts, kind="stable")[:EXAMPLES])
  members = [np.flatnonzero(labels == number) for number in largest]
  return np.array([rows[len(rows) // 2] for rows in members], np.int64)


def _without(row: int, near: Neighbors) -> Neighbors:
  """Removes a row from its own neighbors `[K]`."""
  kept = np.flatnonzero(near.index != row)[:NEIGHBORS]
  return Neighbors(near.index[kept], near.similarity[kept])

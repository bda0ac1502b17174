"""Accuracies of simple classifiers of features, by cross-validation.

A linear probe (Alain & Bengio 2016, arXiv:1610.01644) and the majority of the
nearest neighbors measure how well features separate the classes. Of classes
with equal numbers of neighbors, that of the nearest one wins.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dlcore.data import bad_examples
from dlcore.data.fold_assignment import deal
from dlcore.metrics import wilson_interval
from dlcore.representation.linear_probe import INNER_FOLDS, fit_probe
from dlcore.representation.nearest_neighbors import (
  nearest_neighbors,
  unit_rows,
)

FOLDS = 5

NEIGHBORS = 5
"""Neighbors that vote, at most the training rows of an average class."""

MAX_ROWS, MAX_VALUES = 20_000, 10_000_000
"""Rows, and their values, that the probes are fitted to."""

MAX_CLASSES = 1000

REASONS = (
  f"at most {MAX_CLASSES:,} classes",
  "two classes with two different examples each",
)
"""Requirements of the probes, by whether there are fewer than two classes."""


class Probe(NamedTuple):
  """Out-of-fold predictions of one kind of probe, and their accuracy."""

  name: str
  predictions: np.ndarray
  """int64 `[M]`, classes of `ProbeResults.rows`."""

  accuracy: float
  interval: tuple[float, float]
  """95% interval of the accuracy (Wilson 1927)."""


class ProbeResults(NamedTuple):
  """The probes of the same rows and folds."""

  rows: np.ndarray
  """int64 `[M]`, the rows of the features."""

  labels: np.ndarray
  """int64 `[M]`."""

  probes: tuple[Probe, ...]
  """Empty if there are too few examples; `remarks` has the reason."""

  strengths: tuple[float, ...]
  """L2 strengths of the linear probe, of each fold."""

  folds: int
  trivial: float
  """Share of the most frequent class."""

  remarks: tuple[str, ...]


def probe(
  features: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> ProbeResults:
  """Returns the accuracies of a linear probe and of nearest neighbors.

  Equal rows are in one fold, so that copies do not count as right answers.
  Classes without two different examples are left out, and of many rows a
  random selection is used.

  Args:
    features: finite, float32 `[N, D]`.
    labels: int `[N]`, -1 without a label.
    names: of the classes.
  """
  rows, remarks = _select_rows(features, labels)
  hashes = _hashes(features[rows])
  rows, hashes, small = _drop_small_classes(rows, labels, hashes)
  if small:
    listed = bad_examples.shorten(names[i] for i in small)
    remarks.append(
      "The probes leave out the classes without two different examples, "
      f"{len(small):,}: {listed}."
    )
  classes = np.unique(labels[rows])
  if not 2 <= len(classes) <= MAX_CLASSES:
    reason = REASONS[len(classes) < 2]
    remarks.append(f"There are no probes: they need {reason}.")
    return ProbeResults(rows, labels[rows], (), (), 0, 0.0, tuple(remarks))
  results = _fit(features[rows], np.searchsorted(classes, labels[rows]), hashes)
  probes = [p._replace(predictions=classes[p.predictions]) for p in results[0]]
  counts = np.bincount(labels[rows])
  trivial = float(counts.max() / counts.sum())
  return ProbeResults(
    rows, labels[rows], tuple(probes), *results[1:], trivial, tuple(remarks)
  )


def _fit(
  features: np.ndarray, labels: np.ndarray, hashes: np.ndarray
) -> tuple[list[Probe], tuple[float, ...], int]:
  """Returns the probes, the strengths, and the number of folds."""
  folds, classes = deal(hashes, labels, FOLDS), int(labels.max()) + 1
  parts = len(np.unique(folds))
  linear, strengths = _linear(features, labels, classes, folds, hashes)
  count = len(labels) * (parts - 1) // (parts * classes)
  count = max(1, min(NEIGHBORS, count))
  votes = _vote(features, labels, classes, folds, count)
  title = f"{count} nearest neighbor{'s' * (count > 1)}"
  probes = [
    _score("linear probe", linear, labels),
    _score(title, votes, labels),
  ]
  return probes, tuple(strengths), parts


def _select_rows(
  features: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, list[str]]:
  """Returns labelled rows, a random selection of many, and a remark on it."""
  rows = np.flatnonzero(labels >= 0)
  limit = min(MAX_ROWS, max(MAX_VALUES // features.shape[1], 100))
  if len(rows) <= limit:
    return rows, []
  chosen = np.random.default_rng(0).choice(rows, limit, replace=False)
  remark = f"The probes use {limit:,} random rows of {len(rows):,}."
  return np.sort(chosen), [remark]


def _hashes(features: np.ndarray) -> np.ndarray:
  rows = np.ascontiguousarray(features)
  return np.array(
    [hashlib.blake2b(row.tobytes(), digest_size=8).hexdigest() for row in rows],
    dtype=str,
  )


def _drop_small_classes(
  rows: np.ndarray, labels: np.ndarray, hashes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[int]]:
  """Drops classes that have not two different rows; equal rows have one label.

  Returns:
    The other rows, their hashes, and the classes that are dropped.
  """
  if not len(rows):
    return rows, hashes, []
  own = labels[rows]
  first = np.unique(hashes, return_index=True)[1]
  counts = np.bincount(own[first], minlength=own.max() + 1)
  present = np.bincount(own, minlength=own.max() + 1) > 0
  kept = counts[own] >= 2
  dropped = np.flatnonzero(present & (counts < 2)).tolist()
  return rows[kept], hashes[kept], dropped


def _linear(
  features: np.ndarray,
  labels: np.ndarray,
  classes: int,
  folds: np.ndarray,
  hashes: np.ndarray,
) -> tuple[np.ndarray, list[float]]:
  """Returns out-of-fold predictions, and the strength of each fold."""
  predictions, strengths = np.zeros(len(labels), np.int64), []
  for fold in np.unique(folds):
    train = folds != fold
    inner = deal(hashes[train], labels[train], INNER_FOLDS)
    fitted, strength = fit_probe(features[train], labels[train], classes, inner)
    strengths.append(strength)
    predictions[~train] = fitted.logits(features[~train]).argmax(1)
  return predictions, strengths


def _vote(
  features: np.ndarray,
  labels: np.ndarray,
  classes: int,
  folds: np.ndarray,
  count: int,
) -> np.ndarray:
  """Returns the majority of the `count` nearest rows of other folds.

  Of classes with equal numbers of votes, that of the nearest row wins. Rows
  with equal similarities are ordered by their numbers.
  """
  # Each bonus is above all later ones together, and all are below one vote.
  weights = 1 + 0.5 ** np.arange(2, count + 2)
  unit, predictions = unit_rows(features), np.zeros(len(labels), np.int64)
  for fold in np.unique(folds):
    train = folds != fold
    index = nearest_neighbors(unit[~train], unit[train], count).index
    votes = labels[train][index]
    scores = np.zeros((len(votes), classes))
    for rank in range(votes.shape[1]):
      np.add.at(scores, (np.arange(len(votes)), votes[:, rank]), weights[rank])
    predictions[~train] = scores.argmax(1)
  return predictions


def _score(name: str, predictions: np.ndarray, labels: np.ndarray) -> Probe:
  hits, count = int((predictions == labels).sum()), len(labels)
  interval = wilson_interval(hits, count)
  return Probe(name, predictions, hits / count, interval)

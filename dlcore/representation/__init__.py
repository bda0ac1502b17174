"""Measures features: neighbors, similar pairs, a map and probes, in NumPy."""

from dlcore.representation.linear_probe import LogisticRegression, fit_logistic
from dlcore.representation.nearest_neighbors import (
  Neighbors,
  nearest_neighbors,
  unit_rows,
)
from dlcore.representation.principal_components import (
  Projection,
  project,
)
from dlcore.representation.probes import (
  Probe,
  ProbeResults,
  probe,
)
from dlcore.representation.similar_pairs import SimilarPairs, similar_pairs

__all__ = [
  "LogisticRegression",
  "Neighbors",
  "Probe",
  "ProbeResults",
  "Projection",
  "SimilarPairs",
  "fit_logistic",
  "nearest_neighbors",
  "probe",
  "project",
  "similar_pairs",
  "unit_rows",
]

"""Tasks: a model, a loss and metrics joined into a `Task`."""

from dlcore.tasks.classification import CLASSIFICATION, classification
from dlcore.tasks.kind import TaskKind
from dlcore.tasks.regression import REGRESSION, regression
from dlcore.tasks.transforms import augmented, freeze, variables

__all__ = [
  "TASKS",
  "TaskKind",
  "augmented",
  "classification",
  "freeze",
  "regression",
  "variables",
]

TASKS: dict[str, TaskKind] = {
  "classification": CLASSIFICATION,
  "regression": REGRESSION,
}
"""Kinds of tasks by name."""

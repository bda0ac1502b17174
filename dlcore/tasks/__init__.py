"""Tasks: a model, a loss and metrics joined into a `Task`."""

from dlcore.tasks.classification import classification
from dlcore.tasks.kind import TASKS, TaskKind
from dlcore.tasks.regression import regression
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

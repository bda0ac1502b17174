"""Tasks: a model, a loss and metrics joined into a `Task`."""

from dlcore.tasks.classification import classification
from dlcore.tasks.regression import regression

__all__ = ["TASKS", "classification", "regression"]

TASKS = {
  "classification": classification,
  "regression": regression,
}

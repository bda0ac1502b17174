"""Kinds of tasks: all that scripts, run folders and reports need of a task."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from dlcore import predictions
from dlcore.data import DataInfo
from dlcore.errors import UserError
from dlcore.task import Task
from dlcore.tasks.classification import classification
from dlcore.tasks.regression import regression

Rows = Mapping[str, np.ndarray]
"""Arrays `[N, ...]` by name."""


class TaskKind(NamedTuple):
  """How a task is made from data, and how its predictions are shown."""

  make: Callable[..., Task]
  """`(model, **settings) -> Task`; its keywords are settings of a config, but
  for those of `data_arguments`."""

  data_arguments: Mapping[str, Callable[[DataInfo], Any]]
  """The keywords of `make` that come from the data."""

  model_arguments: Callable[[DataInfo], dict[str, Any]]
  """What the model needs to know of the data, such as `num_classes`."""

  accepts: Callable[[DataInfo], None]
  """Raises a `UserError` for data that the task cannot learn from."""

  to_json: Callable[[Rows, DataInfo], dict[str, Any]]
  """`(one prediction, info)` -> the fields of a JSON object."""

  keep: Callable[[str, Rows, Rows, Callable], Rows]
  """`(split, predictions, targets, read_inputs)` -> the arrays that the report
  shows, by name."""

  def build(self, model: Any, info: DataInfo, **settings: Any) -> Task:
    """Returns the task for data that `info` describes."""
    arguments = {k: read(info) for k, read in self.data_arguments.items()}
    return self.make(model, **arguments, **settings)


def _input(info: DataInfo) -> str:
  return info.schema.input


def _normalization(info: DataInfo) -> Any:
  return info.schema.normalization


def _accepts_classes(info: DataInfo) -> None:
  classes = info.schema.classes
  if not classes:
    raise UserError(
      "expected data with classes for classification",
      f"got {info.name!r}, whose target is a number",
      "use --config.task.name=regression",
    )
  if len(classes) < 2:
    raise UserError(
      "expected data of at least two classes",
      f"got {info.name!r}, where all examples are {classes[0]!r}",
    )


def _accepts_numbers(info: DataInfo) -> None:
  if info.schema.classes or not info.schema.target:
    raise UserError(
      "expected data with a number as its target for regression",
      f"got {info.name!r}, which has {len(info.schema.classes)} classes",
      "use --config.task.name=classification",
    )


def _class_json(row: Rows, info: DataInfo) -> dict[str, Any]:
  best = int(np.argmax(row["probabilities"]))
  values = map(float, row["probabilities"])
  return {
    "label": info.schema.classes[best],
    "probability": float(row["probabilities"][best]),
    "probabilities": dict(zip(info.schema.classes, values, strict=True)),
  }


def _number_json(row: Rows, info: DataInfo) -> dict[str, Any]:
  del info
  return {name: float(value) for name, value in row.items()}


def _keep_classes(split: str, rows: Rows, targets: Rows, read: Callable):
  return predictions.classification(
    split, targets["label"], rows["probabilities"], read
  )


def _keep_numbers(split: str, rows: Rows, targets: Rows, read: Callable):
  return predictions.regression(
    split, targets["target"], rows["prediction"], read
  )


TASKS: dict[str, TaskKind] = {
  "classification": TaskKind(
    make=classification,
    data_arguments={"input": _input, "normalization": _normalization},
    model_arguments=lambda info: {"num_classes": len(info.schema.classes)},
    accepts=_accepts_classes,
    to_json=_class_json,
    keep=_keep_classes,
  ),
  "regression": TaskKind(
    make=regression,
    data_arguments={
      "input": _input,
      "normalization": _normalization,
      "target_normalization": lambda info: info.schema.target_normalization,
    },
    model_arguments=lambda info: {"num_classes": 1},
    accepts=_accepts_numbers,
    to_json=_number_json,
    keep=_keep_numbers,
  ),
}

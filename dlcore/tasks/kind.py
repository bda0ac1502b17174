"""Kinds of tasks: all that scripts, run folders and reports need of a task."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from dlcore.data import DataInfo
from dlcore.task import Task

Arrays = Mapping[str, np.ndarray]
"""Arrays `[N, ...]` by name."""


class TaskKind(NamedTuple):
  """How a task is made from data, and how its predictions are shown."""

  make: Callable[..., Task]
  """`(model, **settings) -> Task`; its keywords are settings of a config, but
  for those of `data_arguments`."""

  data_arguments: Mapping[str, Callable[[DataInfo], Any]]
  """The keywords of `make` that come from the data."""

  model_arguments: Callable[[DataInfo], dict[str, Any]]
  """Arguments of the model that come from the data, such as `num_classes`."""

  check_data: Callable[[DataInfo], None]
  """Raises a `UserError` for data that the task cannot learn from."""

  to_json: Callable[[Arrays, DataInfo], dict[str, Any]]
  """`(one prediction, info)` -> the fields of a JSON object."""

  report_arrays: Callable[[str, Arrays, Arrays, Callable], Arrays]
  """`(split, predictions, targets, read_inputs)` -> the arrays that the report
  shows, by name; an empty dict if it shows none."""

  def build(self, model: Any, info: DataInfo, **settings: Any) -> Task:
    """Returns the task for data that `info` describes."""
    arguments = {k: read(info) for k, read in self.data_arguments.items()}
    return self.make(model, **arguments, **settings)


def read_input(info: DataInfo) -> str:
  """Returns the name of the input array, a value of `data_arguments`."""
  return info.schema.input


def read_normalization(info: DataInfo) -> Any:
  """Returns the normalization of the input, a value of `data_arguments`."""
  return info.schema.normalization

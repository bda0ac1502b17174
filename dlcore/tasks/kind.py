"""Kinds of tasks: all that scripts, run folders and reports need of a task.

A kind of task is a row of `tasks.TASKS`; a kind of data is a `data.Schema`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dlcore.data import DataInfo
from dlcore.data.source import Arrays
from dlcore.errors import UserError, check_settings
from dlcore.report_arrays import Read
from dlcore.task import Task
from dlcore.tasks.assessment import Assessable

INPUT_ARGUMENTS: Mapping[str, Callable[[DataInfo], Any]] = {
  "input": lambda info: info.schema.input,
  "normalization": lambda info: info.schema.normalization,
}
"""The default of `TaskKind.data_arguments`, those of every supervised task."""


def no_arrays(
  split: str, rows: Arrays, targets: Arrays, info: DataInfo, read: Read
) -> Arrays:
  """Returns an empty dict: the default of `TaskKind.report_arrays`."""
  del split, rows, targets, info, read
  return {}


def no_tuning(
  settings: Mapping[str, Any],
) -> Callable[[Arrays, Arrays], dict[str, Any]] | None:
  """Returns None: the default of `TaskKind.tune`."""
  del settings
  return None


class TaskKind(NamedTuple):
  """How a task is made from data, and how its predictions are shown."""

  make: Callable[..., Task]
  """`(model, **settings) -> Task`; its keywords are settings of a config, but
  for those of `data_arguments`."""

  model_arguments: Callable[[DataInfo], dict[str, Any]]
  """Arguments of the model that come from the data, such as `num_classes`."""

  check_data: Callable[[DataInfo], None]
  """Raises a `UserError` for data that the task cannot learn from. It runs
  for stored runs too: those of earlier versions have no `info.targets`."""

  to_json: Callable[[Arrays, DataInfo], dict[str, Any]]
  """`(one prediction, info)` -> the fields of a JSON object."""

  data_arguments: Mapping[str, Callable[[DataInfo], Any]] = INPUT_ARGUMENTS
  """The keywords of `make` that come from the data."""

  report_arrays: Callable[[str, Arrays, Arrays, DataInfo, Read], Arrays] = (
    no_arrays
  )
  """`(split, predictions, targets, info, read)` -> the arrays that the report
  shows; `dlcore.report_arrays` lists their names. `read` returns the inputs of
  some examples."""

  tune: Callable[
    [Mapping[str, Any]], Callable[[Arrays, Arrays], dict[str, Any]] | None
  ] = no_tuning
  """`settings` -> the function that chooses further settings of `make` after
  training, such as `thresholds`, from the predictions and the targets of the
  validation split; None if these settings ask for nothing."""

  assessable: Assessable | None = None
  """How scores are compared with the trivial answer; None if they are not."""

  pipeline_tags: Mapping[str, str] = {}
  """Name of the task on the Hugging Face hub by `Schema.kind`, where it has
  one."""

  problem_type: str = ""
  """Entry `problem_type` of config.json in transformers, which decides how the
  outputs of a head are converted; empty for tasks without one."""

  @property
  def predicts_numbers(self) -> bool:
    """Whether the model predicts a normalized target."""
    return "target_normalization" in self.data_arguments

  def build(self, model: Any, info: DataInfo, **settings: Any) -> Task:
    """Returns the task for data that `info` describes.

    Raises:
      UserError: the data has no main input, the model lacks some of its token
        ids, or a setting is out of range.
    """
    _check_vocabulary(model, info)
    arguments = {k: get(info) for k, get in self.data_arguments.items()}
    arguments |= settings
    if arguments.get("input") == "":
      raise UserError(
        f"expected a main input in {info.name!r}: image, features or input_ids",
        "got none of them",
        "pass input=NAME to from_arrays or to the schema",
      )
    check_settings(self.make, arguments, "`make` of this kind of task")
    return self.make(model, **arguments)


def _check_vocabulary(model: Any, info: DataInfo) -> None:
  needed, size = info.schema.vocab_size, getattr(model, "vocab_size", None)
  if needed and size is not None and size < needed:
    raise UserError(
      f"expected a model with vocab_size of at least {needed}, since the token "
      f"ids of {info.name!r} go up to {needed - 1}",
      f"got {size}",
      f"set the model's vocab_size={needed}",
    )

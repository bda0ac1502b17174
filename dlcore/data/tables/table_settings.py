"""The settings of a table of typed columns."""

from collections.abc import Sequence
from typing import NamedTuple

from dlcore.data import bad_examples
from dlcore.data.split_settings import SplitSettings
from dlcore.errors import check_choice

TASKS = ("auto", "classification", "regression", "multilabel")


class TableSettings(NamedTuple):
  """The settings of `table_file`, with those of its splits as one."""

  target: str
  targets: Sequence[str]
  columns: Sequence[str]
  exclude: Sequence[str]
  categorical: Sequence[str]
  weight: str
  task: str
  target_transform: str
  missing: str
  on_bad: str
  day_first: bool
  splits: SplitSettings

  @property
  def chosen(self) -> set[str]:
    """Names of the input columns that a setting lists."""
    return {*self.columns, *self.categorical}

  def check(self) -> None:
    """Checks the settings that have few values.

    Raises:
      UserError: one has another value.
    """
    check_choice("task", self.task, TASKS)
    check_choice("missing", self.missing, ("impute", "skip", "error"))
    transforms = ("auto", "none", "log")
    check_choice("target_transform", self.target_transform, transforms)
    bad_examples.check_on_bad(self.on_bad)
    self.splits.check()

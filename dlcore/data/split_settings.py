"""Settings of a data set that decide its splits."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from dlcore.data.holdout import check_fraction
from dlcore.errors import UserError, check_choice

DUPLICATES = ("keep", "move")


class SplitSettings(NamedTuple):
  """Settings of a data set that decide its splits."""

  valid_fraction: float = 0.1
  """Share of the examples of train to hold out if there is no other valid."""

  test_fraction: float = 0.0
  """Likewise."""

  group: str = ""
  """Name of the column of groups, which stay in one split."""

  time: str = ""
  """Name of the column of times, of which the latest are held out."""

  split: str = ""
  """Name of the column that names the split."""

  folds: int = 0
  """Number of folds of a cross-validation, 0 for none."""

  fold: int = 0
  """The fold that is the test split."""

  duplicates: str = "keep"
  """`"move"` moves examples that occur in several splits to train."""

  stratify: bool = True
  """Whether all splits have the same share of each class."""

  @classmethod
  def of(cls, arguments: Mapping[str, Any]) -> "SplitSettings":
    """Returns those among the arguments of a loader, checked.

    Raises:
      UserError: one is out of range or contradicts another.
    """
    settings = cls(**{name: arguments[name] for name in cls._fields})
    settings.check()
    return settings

  def arguments(self) -> dict[str, Any]:
    """Returns the keyword arguments of `make_splits` but for the columns."""
    return {
      "valid_fraction": self.valid_fraction,
      "test_fraction": self.test_fraction,
      "folds": self.folds,
      "fold": self.fold,
      "duplicates": self.duplicates,
      "stratify": None if self.stratify else False,
    }

  def check(self) -> None:
    """Checks the settings, which need no data.

    Raises:
      UserError: one is out of range or contradicts another.
    """
    check_fraction("valid", self.valid_fraction)
    check_fraction("test", self.test_fraction)
    check_choice("duplicates", self.duplicates, DUPLICATES)
    folds, fold = self.folds, self.fold
    if folds not in range(2, 1 << 31) and (folds, fold) != (0, 0):
      raise UserError(
        "expected folds of at least 2, or folds=0 and fold=0",
        f"got {folds=}, {fold=}",
        "folds=5 is a usual number",
      )
    if folds and fold not in range(folds):
      raise UserError(
        f"expected fold from 0 to {folds - 1}, for {folds=}",
        f"got {fold=}",
        "the folds are counted from 0",
      )
    check_rules(bool(self.group), bool(self.time), bool(self.split), folds)


def check_rules(groups: bool, times: bool, assigned: bool, folds: int) -> None:
  """Checks that no two rules decide the same splits.

  Raises:
    UserError: two do.
  """
  for both, pair in (
    (groups and times, "groups and times"),
    (assigned and folds, "folds and a column of splits"),
  ):
    if both:
      raise UserError(
        "expected a single rule that splits the examples",
        f"got {pair}",
        "choose one of them",
      )

"""The split of every example, by one pure function.

`assign` chooses among the rules of `holdout` and `fold_assignment`, from the
settings of a data set and the columns of its examples.
"""

from collections.abc import Collection

import numpy as np

from dlcore.data import holdout
from dlcore.data.fold_assignment import (
  deal,
  hold_out_groups,
  hold_out_latest,
  pack,
  window,
)
from dlcore.data.split_columns import SplitColumns
from dlcore.data.split_settings import SplitSettings, check_rules
from dlcore.errors import UserError


def assign(
  columns: SplitColumns,
  settings: SplitSettings,
  present: Collection[str] = (),
) -> dict[str, np.ndarray]:
  """Returns the rows of train and of the splits that are held out of it.

  - By default the splits are stratified by class, and a hash selects them.
    Examples of equal hashes are in one split.
  - `groups`: whole groups are selected, still stratified as nearly as possible.
  - `times`: the latest examples are test, those before them valid.
  - `assigned`: the column names the split; a split that it never names is held
    out of its train by the other rules.
  - `folds`: fold `fold` is test and the next one valid, unless `valid_fraction`
    is 0. With `times`, the fold is a block of time, train is all before it, and
    `valid_fraction` of that is valid.

  Args:
    columns: of N examples.
    settings: the fractions and folds.
    present: splits that the data set has already; they are not held out.

  Returns:
    The rows of every split, ascending int64.

  Raises:
    UserError: settings contradict each other, or leave a split without
      examples.
  """
  settings.check()
  _, _, groups, times, assigned = (column is not None for column in columns)
  check_rules(groups, times, assigned, settings.folds)
  if "valid" in present:
    settings = settings._replace(valid_fraction=0.0)
  if settings.folds:
    return _assign_fold(columns, settings)
  if "test" in present:
    settings = settings._replace(test_fraction=0.0)
  if columns.assigned is not None:
    return _assign_named(columns, settings, present)
  return _hold_out(columns, settings)


def _hold_out(
  columns: SplitColumns, settings: SplitSettings
) -> dict[str, np.ndarray]:
  """Returns rows of test, then of valid, and the rest; see `assign`."""
  hashes, strata, groups, times, _ = columns

  def choose(rows: np.ndarray, fraction: float) -> np.ndarray:
    rest = None if strata is None else strata[rows]
    if times is not None:
      return hold_out_latest(times[rows], fraction)
    if groups is not None:
      return hold_out_groups(groups[rows], rest, fraction)
    return holdout.hold_out(hashes[rows], rest, fraction)

  units = strata, "classes"
  if len(np.unique(hashes)) < len(hashes):
    units = hashes, "different contents"
  if groups is not None:
    units = groups, "groups"
  if times is not None:
    units = times, "times"
  return holdout.divide_by(
    choose,
    len(hashes),
    units,
    valid_fraction=settings.valid_fraction,
    test_fraction=settings.test_fraction,
  )


def _assign_named(
  columns: SplitColumns, settings: SplitSettings, present: Collection[str]
) -> dict[str, np.ndarray]:
  """Returns the rows by the column of names; see `assign`."""
  names = columns.assigned
  assert names is not None
  used = np.unique(names).tolist()
  named = {name: np.flatnonzero(names == name) for name in used}
  listed = ", ".join(sorted(named))
  if "train" not in named:
    raise UserError(
      "expected a column of splits with examples of train",
      f"got {listed} only",
      "name the split of each example train, valid or test",
    )
  if both := sorted(named.keys() & set(present)):
    raise UserError(
      f"expected {both[0]} either in a column of splits or on its own",
      f"got a column with {listed}, and {both[0]} on its own",
      "remove one of them",
    )
  if columns.groups is not None:
    _check_groups(columns.groups, named)
  train = named.pop("train")
  settings = settings._replace(**{f"{split}_fraction": 0.0 for split in named})
  held_out = _hold_out(columns.take(train), settings)
  return {split: train[rows] for split, rows in held_out.items()} | named


def _check_groups(groups: np.ndarray, rows: dict[str, np.ndarray]) -> None:
  """Checks that the column of splits divides no group."""
  owner: dict[int, tuple[str, int]] = {}
  for split, chosen in rows.items():
    _, first = np.unique(groups[chosen], return_index=True)
    for row in chosen[first].tolist():
      other, at = owner.setdefault(int(groups[row]), (split, row))
      if other != split:
        raise UserError(
          "expected a column of splits that divides no group",
          f"got a group with row {at} in {other} and row {row} in {split}",
          "correct one of the columns, or split by one of them only",
        )


def _assign_fold(
  columns: SplitColumns, settings: SplitSettings
) -> dict[str, np.ndarray]:
  """Returns the rows of a fold of a cross-validation; see `assign`."""
  hashes, strata, groups, times, _ = columns
  folds, fold = settings.folds, settings.fold
  if times is not None:
    before, test = window(times, folds, fold)
    rest = _hold_out(columns.take(before), settings._replace(test_fraction=0.0))
    return {split: before[rows] for split, rows in rest.items()} | {
      "test": test
    }
  has_valid = settings.valid_fraction > 0
  units = len(np.unique(hashes if groups is None else groups))
  if units < folds:
    noun = "examples" if groups is None else "groups"
    if groups is None and units < len(hashes):
      noun = "different examples"
    raise UserError(
      f"expected at least {folds} {noun}, for {folds=}",
      f"got {units}",
      "choose fewer folds",
    )
  if has_valid and folds == 2:
    raise UserError(
      "expected at least 3 folds, for train, valid and test",
      f"got {folds=}",
      "set folds=3, or valid_fraction=0",
    )
  if groups is None:
    numbers = deal(hashes, strata, folds)
  else:
    numbers = pack(groups, strata, [1 / folds] * folds)
  split_of = np.full(folds, "train")
  split_of[fold] = "test"
  if has_valid:
    split_of[(fold + 1) % folds] = "valid"
  names = split_of[numbers]
  used = np.unique(names).tolist()
  return {split: np.flatnonzero(names == split) for split in used}

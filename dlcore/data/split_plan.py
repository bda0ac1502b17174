"""The rows of every split of a data set, from its parts, and notes on them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlcore.data.assignment import assign
from dlcore.data.duplicates import describe_shared, find_shared
from dlcore.data.source import Splits, gather
from dlcore.data.split_columns import Column, SplitColumns, split_columns
from dlcore.data.split_settings import SplitSettings
from dlcore.errors import UserError

Hashes = Sequence[str] | np.ndarray
Rows = dict[str, dict[str, np.ndarray | None]]
"""By split, the rows of each part of which it consists, None for all."""


class Plan(NamedTuple):
  """The splits of a data set whose parts are train and some other splits."""

  rows: Rows

  notes: Sequence[str]
  """Sentences for the user."""

  keeps_classes: bool
  """Whether train has the classes of the splits that are held out of it."""

  def of_train(self) -> dict[str, np.ndarray]:
    """Returns the rows of the part `"train"`, by split."""
    rows = {split: pieces.get("train") for split, pieces in self.rows.items()}
    return {split: part for split, part in rows.items() if part is not None}


def make_plan(
  hashes: Hashes,
  labels: np.ndarray | None,
  parts: Sequence[str],
  contents: Callable[[str], Hashes | None],
  *,
  valid_fraction: float = 0.1,
  test_fraction: float = 0.0,
  folds: int = 0,
  fold: int = 0,
  duplicates: str = "keep",
  together: bool = False,
  **columns: Any,
) -> Plan:
  """Returns the rows of every split.

  Args:
    hashes: a string for each example of the part `"train"`.
    labels: of them, or None.
    parts: names of the parts, `"train"` and the other splits of the data set.
    contents: `(part) -> hash of the content of each example`, or None if it is
      unknown.
    valid_fraction: see `split.make_splits`, as for the arguments below.
    test_fraction: likewise.
    folds: likewise.
    fold: likewise.
    duplicates: likewise.
    together: whether examples of equal hashes share a split, as texts do. Equal
      rows of a table of few categories occur in all splits.
    **columns: `stratify`, `groups`, `times` and `assigned`.

  Raises:
    UserError: see `split_columns` and `assign`; or `duplicates` is "move", and
      the contents are unknown or a split has no other examples.
  """
  settings = SplitSettings(
    valid_fraction,
    test_fraction,
    folds=folds,
    fold=fold,
    duplicates=duplicates,
  )
  known = split_columns(hashes, labels=labels, together=together, **columns)
  given = [part for part in parts if part != "train"]
  notes = []
  if folds and "test" in given:
    given.remove("test")
    notes.append("test is not used: the folds of train take its place")
  rows = assign(known, settings, given)
  plan: Rows = {
    **{split: {"train": chosen} for split, chosen in rows.items()},
    **{split: {split: None} for split in given},
  }
  of_equal = _describe_equal(known, rows)
  notes += of_equal
  notes += _describe_shares(known, settings, rows)
  notes += _compare_contents(plan, contents, move=duplicates == "move")
  stratified = columns.get("stratify") is None and not folds
  stratified = stratified and known.groups is None and known.times is None
  stratified = stratified and not of_equal
  return Plan(plan, notes, keeps_classes=stratified)


def _compare_contents(
  plan: Rows, contents: Callable[[str], Hashes | None], move: bool
) -> list[str]:
  """Returns notes on equal examples in several splits, and may move them.

  Args:
    plan: the rows, which are changed.
    contents: see `make_plan`.
    move: whether to move equal examples to train.
  """
  if len(plan) == 1:
    return []
  hashes = {}
  for part in dict.fromkeys(
    part for pieces in plan.values() for part in pieces
  ):
    content = contents(part)
    if content is None:
      if not move:
        return []
      raise UserError(
        'expected data of known content, for duplicates="move"',
        "got streamed examples without a hash of their content",
        'set duplicates="keep"',
      )
    # Only compared, and 8 bytes where a string of NumPy takes 128.
    hashes[part] = np.fromiter(map(hash, content), np.int64, len(content))
  shared = find_shared(
    {
      split: hashes[part] if rows is None else hashes[part][rows]
      for split, pieces in plan.items()
      for part, rows in pieces.items()
    }
  )
  if move:
    _move(plan, shared)
  return describe_shared(shared, move)


def _move(plan: Rows, shared: Mapping[str, np.ndarray]) -> None:
  """Moves the examples of other splits that are `shared` to train, in place."""
  for split, mask in shared.items():
    if split == "train" or not mask.any():
      continue
    if mask.all():
      raise UserError(
        f"expected examples of {split} that occur in no other split",
        f"got {len(mask)} examples that all do",
        'remove the equal ones, or set duplicates="keep"',
      )
    [(part, rows)] = plan[split].items()
    rows = np.arange(len(mask)) if rows is None else rows
    others = plan["train"].get(part)
    moved = [rows[mask]] if others is None else [others, rows[mask]]
    plan["train"][part] = np.sort(np.concatenate(moved))
    plan[split] = {part: rows[~mask]}


def _describe_equal(
  columns: SplitColumns, rows: Mapping[str, np.ndarray]
) -> list[str]:
  """Returns a note on the examples that share the split of an equal one."""
  if len(rows) == 1:
    return []
  distinct, contents = np.unique(columns.hashes, return_inverse=True)
  size, repeated = len(contents), len(contents) - len(distinct)
  in_splits = sum(len(np.unique(contents[chosen])) for chosen in rows.values())
  # Groups, times or a column may divide equal examples.
  if not repeated or in_splits > len(distinct):
    return []
  return [f"{repeated:,} of {size:,} examples repeat others, in the same split"]


def _describe_shares(
  columns: SplitColumns,
  settings: SplitSettings,
  rows: Mapping[str, np.ndarray],
) -> list[str]:
  """Returns notes on held out shares that groups or times make different."""
  if settings.folds or columns.assigned is not None:
    return []
  if columns.groups is None and columns.times is None:
    return []
  unit = "group" if columns.times is None else "time"
  notes, size = [], len(columns.hashes)
  for split in ("test", "valid"):
    wanted = getattr(settings, f"{split}_fraction")
    if split in rows and wanted:
      share = len(rows[split]) / size
      size -= len(rows[split])
      if abs(share - wanted) > wanted / 2:
        notes.append(
          f"{split} has a share of {share:.2g} in place of {wanted:g}, since "
          f"examples of one {unit} stay together"
        )
  return notes


def name_examples(
  splits: Splits,
  plan: Plan,
  names: Mapping[str, Column],
  sizes: Mapping[str, int],
) -> Splits:
  """Returns the sources with the names or positions of their examples."""
  known = {
    part: {"": np.asarray(names[part]) if part in names else np.arange(size)}
    for part, size in sizes.items()
  }
  return Splits(
    **{
      split: source._replace(names=gather(known, plan.rows[split])[""])
      for split, source in splits._asdict().items()
      if source is not None
    }
  )

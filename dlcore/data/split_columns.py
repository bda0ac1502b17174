"""Columns that decide the split of each example, checked and as integers."""

import contextlib
import datetime
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dlcore.data.bad_examples import shorten
from dlcore.data.holdout import hash_names
from dlcore.errors import UserError, nearest

Column = Sequence[Any] | np.ndarray
"""One value for each example."""

SPLIT_NAMES = {
  "train": "train",
  "training": "train",
  "valid": "valid",
  "validation": "valid",
  "val": "valid",
  "dev": "valid",
  "test": "test",
  "testing": "test",
}
"""Split by its name in files and folders, in lower case."""


class SplitColumns(NamedTuple):
  """What the split of an example depends on, each `[N]` or None."""

  hashes: np.ndarray
  """Strings of the content or the name; equal ones share a split."""

  strata: np.ndarray | None = None
  """int64; every split has the same share of each value."""

  groups: np.ndarray | None = None
  """int64 in the order of a hash; examples of one group share a split."""

  times: np.ndarray | None = None
  """int64 ranks; later examples are in the splits that are held out."""

  assigned: np.ndarray | None = None
  """Names of splits."""

  def take(self, rows: np.ndarray) -> "SplitColumns":
    """Returns the columns of some examples, int64 `[M]`."""
    hashes, *others = self
    kept = (None if column is None else column[rows] for column in others)
    return SplitColumns(hashes[rows], *kept)


def split_columns(
  hashes: Column,
  *,
  labels: np.ndarray | None = None,
  stratify: Column | bool | None = None,
  groups: Column | None = None,
  times: Column | None = None,
  assigned: Column | None = None,
  together: bool = True,
) -> SplitColumns:
  """Returns checked columns.

  Args:
    hashes: a string for each of N examples.
    labels: the strata by default; those that are not `[N]` are not stratified.
    stratify: other strata `[N]`, or False for none.
    groups: text or numbers `[N]`.
    times: numbers or dates `[N]`.
    assigned: keys of `SPLIT_NAMES` `[N]`, in any case.
    together: whether examples of equal hashes share a split.

  Raises:
    UserError: a column has another length, or a value is missing or malformed.
  """
  hashes = np.asarray(hashes)
  if not together:
    hashes = _numbered(hashes)
  if stratify is None or isinstance(stratify, bool):
    strata = None if stratify is False else labels
    strata = strata if strata is None or strata.ndim == 1 else None
  else:
    strata = _numbers(_column("stratify", stratify, len(hashes)))
  return SplitColumns(
    hashes,
    strata,
    None if groups is None else _groups(groups, len(hashes)),
    None if times is None else _ranks(times, len(hashes)),
    None if assigned is None else _names(assigned, len(hashes)),
  )


def _numbered(hashes: np.ndarray) -> np.ndarray:
  """Returns hashes of which equal ones differ, in the order of all."""
  _, contents, counts = np.unique(
    hashes, return_inverse=True, return_counts=True
  )
  if counts.max(initial=0) <= 1:
    return hashes
  numbers = np.empty(len(hashes), np.int64)
  starts = np.repeat(np.cumsum(counts) - counts, counts)
  order = np.argsort(contents, kind="stable")
  numbers[order] = np.arange(len(hashes)) - starts
  # The null character is the lowest.
  ends = [f"\0{number:09d}" if number else "" for number in numbers.tolist()]
  return np.char.add(hashes.astype(str), ends)


def _groups(groups: Column, size: int) -> np.ndarray:
  """Returns the groups as numbers that do not depend on the order of rows."""
  names = list(map(str, _column("groups", groups, size).tolist()))
  distinct, numbers = np.unique(names, return_inverse=True)
  order = np.argsort(np.array(hash_names(distinct)))
  return np.argsort(order)[numbers]


def _ranks(times: Column, size: int) -> np.ndarray:
  values = _column("times", times, size)
  if values.dtype == object:
    dates = all(isinstance(value, datetime.date) for value in values)
    with contextlib.suppress(TypeError, ValueError):  # Refused below.
      values = values.astype("datetime64[us]" if dates else np.float64)
  if values.dtype.kind not in "iufM":
    raise UserError(
      "expected times that are numbers or dates",
      f"got {values[0]!r:.80} in row 0, of the dtype {values.dtype}",
      "convert text, such as by np.array(times, 'datetime64[s]')",
    )
  if values.dtype.kind == "f" and not np.isfinite(values).all():
    row = int(np.flatnonzero(~np.isfinite(values))[0])
    raise UserError(
      "expected finite times", f"got {values[row]} in row {row}", "correct it"
    )
  return _numbers(values)


def _names(assigned: Column, size: int) -> np.ndarray:
  values = _column("assigned", assigned, size)
  distinct, numbers = np.unique(values.astype(str), return_inverse=True)
  splits = []
  for name in distinct.tolist():
    key = name.strip().lower()
    if key not in SPLIT_NAMES:
      row = int(np.flatnonzero(distinct[numbers] == name)[0])
      raise UserError(
        "expected the name of a split for every example: train, valid or test",
        f"got {name!r:.80} in row {row}",
        nearest(key, SPLIT_NAMES),
      )
    splits.append(SPLIT_NAMES[key])
  return np.array(splits)[numbers]


def _numbers(values: np.ndarray) -> np.ndarray:
  if values.dtype == object:
    values = values.astype(str)
  return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _column(name: str, values: Column, size: int) -> np.ndarray:
  """Returns the column as an array `[N]` without missing values."""
  column = np.asarray(values)
  if column.shape != (size,):
    raise UserError(
      f"expected {name} with one value for each of {size} examples",
      f"got the shape {list(column.shape)}",
      "pass one value for each example of train",
    )
  missing = np.flatnonzero(_is_missing(column))
  if len(missing):
    raise UserError(
      f"expected {name} without missing values",
      f"got {len(missing)} in the rows {shorten(map(str, missing))}",
      "fill them in, or remove these examples",
    )
  return column


def _is_missing(column: np.ndarray) -> np.ndarray:
  """Returns a mask of None, NaN, NaT and empty text."""
  if column.dtype.kind == "f":
    return np.isnan(column)
  if column.dtype.kind in "mM":
    return np.isnat(column)
  if column.dtype.kind in "biu":
    return np.zeros(len(column), bool)
  return np.array([_is_missing_object(value) for value in column.tolist()])


def _is_missing_object(value: Any) -> bool:
  if isinstance(value, str):
    return not value.strip()
  return value is None or str(value) in ("nan", "NaT", "<NA>")

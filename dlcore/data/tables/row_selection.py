"""The columns and rows of a table that are used."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dlcore.data import bad_examples
from dlcore.data.source import hash_rows
from dlcore.data.split_checks import compare_classes
from dlcore.data.tables.plan_fitting import Typed, fit
from dlcore.data.tables.raw_columns import RawTable
from dlcore.data.tables.table_plan import ColumnPlan, bad_rows, missing_reason
from dlcore.data.tables.table_settings import TableSettings
from dlcore.data.tables.target_column import Target, encode_target
from dlcore.errors import UserError, nearest


class Part(NamedTuple):
  """The rows of a file that are used."""

  table: RawTable

  target: np.ndarray
  """float64 `[N]`, or `[N, C]` for several labels."""

  weight: np.ndarray | None
  """float64 `[N]`."""

  @property
  def names(self) -> list[str]:
    """Name of each row, such as "table.csv:2"."""
    file = os.path.basename(self.table.path)
    return [f"{file}:{line}" for line in self.table.lines.tolist()]

  def take(self, rows: np.ndarray) -> "Part":
    """Returns some rows."""
    if len(rows) == len(self.target):
      return self  # Copies take memory.
    weight = None if self.weight is None else self.weight[rows]
    return Part(self.table.take(rows), self.target[rows], weight)


def check_present(table: RawTable, names: Iterable[str]) -> None:
  """Checks that names are columns of a table.

  Raises:
    UserError: one is not; names the nearest column.
  """
  for name in names:
    if name not in table.columns:
      known = ", ".join(table.columns)
      hint = nearest(str(name), table.columns)[:400]
      if len(table.columns) == 1 and len(known.split()) > 1:
        hint = "separate the columns by commas, semicolons, tabs or |"
      raise UserError(
        f"expected a column {name!r} in {table.path}",
        f"got the columns {known}"[:400],
        hint,
      )


def input_columns(table: RawTable, settings: TableSettings) -> list[str]:
  """Returns the names of the columns that may become features.

  Raises:
    UserError: a setting names a column that is missing or has another use.
  """
  if bool(settings.target) == bool(settings.targets):
    raise UserError(
      "expected target to name the column to predict, or several in targets",
      f"got target={settings.target!r}, targets={tuple(settings.targets)}",
      f"the columns are: {', '.join(table.columns)}"[:400],
    )
  targets = settings.targets or [settings.target]
  rule = settings.splits
  special = [settings.weight, rule.group, rule.time, rule.split]
  used = [*targets, *filter(None, special)]
  selected = [*settings.columns, *settings.categorical]
  check_present(table, [*used, *settings.exclude, *selected])
  # A time may be a feature as well; the others would not generalize.
  apart = {*used, *settings.exclude} - {rule.time} | set(targets)
  names = [name for name in table.columns if name not in apart]
  names = list(settings.columns) or names
  if not names:
    raise UserError(
      f"expected columns other than {', '.join(map(repr, apart))} in "
      f"{table.path}",
      f"got {', '.join(table.columns)}"[:400],
      "add input columns",
    )
  if apart & set(selected) or set(settings.categorical) - {*names}:
    raise UserError(
      "expected columns without the target, and categorical among them",
      f"got target={', '.join(targets)!r}, columns={tuple(names)[:20]}, "
      f"categorical={tuple(settings.categorical)}",
    )
  return names


def select_rows(
  tables: Mapping[str, RawTable],
  typed: Mapping[str, Typed],
  target: Target,
  settings: TableSettings,
) -> tuple[dict[str, Part], list[str]]:
  """Returns the rows with a target and all required cells, and notes.

  Args:
    tables: by split.
    typed: the input columns of train and their types.
    target: its meaning.
    settings: of the table.

  Raises:
    UserError: a row is malformed or lacks a cell, and is not to be skipped; or
      a split has no rows left or a class that train lacks.
  """
  required = _required(typed, settings)
  parts, classes = {}, {"train": target.classes}
  malformed: list[tuple[str, str]] = []
  missing: list[tuple[str, str]] = []
  for split, table in tables.items():
    file = os.path.basename(table.path)
    malformed += [(f"{file}:{line}", why) for line, why in table.errors]
    values, has_target, unknown = encode_target(target, table.columns)
    weight, has_weight = _weights(table, settings.weight)
    reasons = _without_target(target, table, ~has_target)
    reasons |= dict.fromkeys(np.flatnonzero(~has_weight).tolist(), "no weight")
    reasons |= dict(bad_rows(required, table))
    listed = sorted(reasons)
    missing += [(f"{file}:{table.lines[row]}", reasons[row]) for row in listed]
    keep = np.setdiff1d(np.arange(len(values)), listed)
    if not len(keep):
      _report_missing(missing, "error")
    parts[split] = Part(table, values, weight).take(keep)
    classes[split] = (*target.classes, *sorted(unknown))
  notes = bad_examples.report(
    malformed,
    settings.on_bad,
    noun="bad rows",
    expected="expected rows with a field for every column",
    remedy='fix them, or skip them with on_bad="skip"',
    empty=False,
  )
  if target.classes:
    compare_classes(classes)
  return parts, [*notes, *_report_missing(missing, settings.missing)]


def _without_target(
  target: Target, table: RawTable, mask: np.ndarray
) -> dict[int, str]:
  """Returns the rows of a mask, with the reason why one has no target."""
  rows = np.flatnonzero(mask).tolist()
  if len(target.names) > 1:
    return dict.fromkeys(rows, "no target")
  name = next(iter(target.names))
  column = table.columns[name]
  reasons = (missing_reason(name, "number", column, row) for row in rows)
  return dict(zip(rows, (f"no target: {why}" for why in reasons), strict=True))


def _required(
  typed: Mapping[str, Typed], settings: TableSettings
) -> Sequence[ColumnPlan]:
  """Returns the columns in which a missing cell makes a row unusable."""
  if settings.missing == "impute":
    return ()
  size = len(next(iter(typed.values())).column.codes)
  plans, _ = fit(
    typed,
    np.arange(size),
    size=size,
    categorical=settings.categorical,
    chosen=settings.chosen,
    required=True,
  )
  return plans


def _report_missing(
  missing: Sequence[tuple[str, str]], setting: str
) -> list[str]:
  """Returns a note on the rows that are left out, or raises a UserError."""
  return bad_examples.report(
    missing,
    "error" if setting == "error" else "skip",
    noun="rows with missing cells",
    expected="expected a target in every row, and other cells unless missing="
    '"impute"',
    remedy='set missing="skip" or "impute", or choose another target',
    empty=False,
  )


def _weights(
  table: RawTable, column: str
) -> tuple[np.ndarray | None, np.ndarray]:
  """Returns the weights float64 `[N]`, and bool `[N]` where there is one.

  Raises:
    UserError: a weight is text or below 0, or all are 0.
  """
  if not column:
    return None, np.ones(len(table.lines), bool)
  cells = table.columns[column]
  values = cells.values
  wrong = [repr(text) for text in cells.texts]
  wrong += [f"{value:g}" for value in np.unique(values[values < 0])]
  if wrong or not np.nansum(values) > 0:
    raise UserError(
      f"expected weights of at least 0, and some above, in {column!r}",
      f"got {bad_examples.shorten(wrong) or 'zeros'}",
    )
  return values, ~np.isnan(values)


def row_hashes(table: RawTable, names: Sequence[str]) -> list[str]:
  """Returns a hash of the cells of each row, which decides its split.

  It does not depend on other rows nor on their order.
  """
  by_text = {name: _hash_texts(table.columns[name].texts) for name in names}
  hashes = []
  for start in range(0, len(table.lines), 4096):
    rows = slice(start, start + 4096)
    cells = []
    for name in names:
      column = table.columns[name]
      codes, values = column.codes[rows], column.values[rows]
      bits = np.where(np.isnan(values), 0.0, values + 0.0).view(np.uint64)
      # The last row of the table of texts stands for missing cells.
      text = by_text[name][np.maximum(codes, -1)]
      cells.append(np.where(np.isnan(values), text, bits))
    hashes += hash_rows(np.stack(cells, axis=1))
  return hashes


def _hash_texts(texts: Sequence[str]) -> np.ndarray:
  """Returns a hash of each text, and 0 for no text, uint64 `[N + 1]`."""
  digests = [
    hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts
  ]
  return np.frombuffer(b"".join([*digests, bytes(8)]), np.uint64)

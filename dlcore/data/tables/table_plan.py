"""The encoding of typed columns as features, fitted on the training rows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dlcore.data.tables import date_text
from dlcore.data.tables.column_types import ColumnType, to_names, to_numbers
from dlcore.data.tables.encoding import check_size
from dlcore.data.tables.raw_columns import INFINITE, RawColumn, RawTable

KINDS = ("number", "date", "category")


class ColumnPlan(NamedTuple):
  """The encoding of a column."""

  name: str

  kind: str
  """One of `KINDS`."""

  format: str = "."
  """See `ColumnType.format`."""

  required: bool = False
  """Whether a missing cell is an error; it is imputed otherwise."""

  fill: float = 0.0
  """Median of the training rows, which stands for a missing number or date."""

  indicator: bool = False
  """Whether a last feature is 1 for missing cells."""

  offset: float = 0.0
  """Number that is subtracted in float64, before the rounding to float32."""

  parts: tuple[str, ...] = ()
  """Parts of a date, see `date_text.PARTS`."""

  categories: tuple[str, ...] = ()
  """Values that become one feature each (one-hot)."""

  other: bool = False
  """Whether a feature is 1 for all other categories. Without it they are
  zeros in all features of the column."""

  @property
  def features(self) -> tuple[str, ...]:
    """Names of the features that the column becomes."""
    names = [f"{self.name}={category}" for category in self.categories]
    names += [f"{self.name}=(other)"] * self.other
    if self.kind == "date":
      names += date_text.part_names(self.name, self.parts)
    elif self.kind == "number":
      names.append(self.name)
    return (*names, *[f"{self.name}=(missing)"] * self.indicator)

  @property
  def scaled(self) -> tuple[bool, ...]:
    """Whether each feature is normalized: numbers and linear times."""
    width = len(self.features) - self.indicator
    number = self.kind == "number" or self.parts[:1] == ("time",)
    return (
      *(number and i == 0 for i in range(width)),
      *[False] * self.indicator,
    )

  @property
  def type(self) -> ColumnType:
    """Type of the cells."""
    return ColumnType(self.kind, self.format)


def missing_cells(plan: ColumnPlan, column: RawColumn) -> np.ndarray:
  """Returns bool `[N]`, true for cells without a value of the type."""
  if plan.kind == "category":
    return column.missing
  return np.isnan(to_numbers(column, plan.type))


def bad_rows(
  plans: Sequence[ColumnPlan], table: RawTable
) -> Iterator[tuple[int, str]]:
  """Yields the rows with a missing cell in a required column, with a reason."""
  reasons: dict[int, list[str]] = {}
  for plan in plans:
    if plan.required:
      column = table.columns[plan.name]
      for row in np.flatnonzero(missing_cells(plan, column)).tolist():
        reason = missing_reason(plan.name, plan.kind, column, row)
        reasons.setdefault(row, []).append(reason)
  for row in sorted(reasons):
    yield row, "; ".join(reasons[row][:3])


def missing_reason(name: str, kind: str, column: RawColumn, row: int) -> str:
  """Returns why a cell has no value of the kind of its column."""
  code = column.codes[row]
  cell = "a number beyond float32" if code == INFINITE else "an empty cell"
  if code >= 0:
    cell = f"{column.texts[code][:60]!r}, not a {kind},"
  return f"{cell} in column {name!r}"


def encode_table(
  plans: Sequence[ColumnPlan], columns: Mapping[str, RawColumn], size: int
) -> np.ndarray:
  """Returns the features of all rows, float32 `[N, F]`.

  Args:
    plans: of the F features, fitted on the training rows.
    columns: the cells of at least the planned columns.
    size: number of rows, N.

  Raises:
    UserError: there are more than 2^27 numbers.
  """
  width = sum(len(plan.features) for plan in plans)
  check_size(size, width)
  features = np.zeros((size, width), np.float32)
  start = 0
  for plan in plans:
    end = start + len(plan.features)
    _encode_column(plan, columns[plan.name], features[:, start:end])
    start = end
  return features


def _encode_column(
  plan: ColumnPlan, column: RawColumn, features: np.ndarray
) -> None:
  """Writes the features of a column into zeros, float32 `[N, F]`."""
  if plan.kind == "category":
    rows = np.arange(len(features))
    missing, positions = column.missing, category_positions(plan, column)
    known = positions >= 0
    features[rows[known], positions[known]] = 1
    if plan.other:
      features[~known & ~missing, len(plan.categories)] = 1
  else:
    values = to_numbers(column, plan.type)
    missing = np.isnan(values)
    values = np.where(missing, plan.fill, values)
    width = features.shape[1] - plan.indicator
    if plan.kind == "date":
      parts = date_text.to_parts(values, plan.parts)
      if plan.parts[0] == "time":
        parts[:, 0] -= plan.offset
      features[:, :width] = parts
    else:
      features[:, 0] = values - plan.offset
  if plan.indicator:
    features[:, -1] = missing


def category_positions(plan: ColumnPlan, column: RawColumn) -> np.ndarray:
  """Returns the position of each cell's category, int64 `[N]`, else -1."""
  positions, names = to_names(column)
  by_name = {name: i for i, name in enumerate(plan.categories)}
  known = [by_name.get(name, -1) for name in names]
  return np.asarray([*known, -1], np.int64)[positions]

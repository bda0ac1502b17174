"""Encoding of the text of a table as numbers."""

import array
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from dlcore.data.tables.csv_text import Row, number
from dlcore.errors import UserError

MAX_INTEGER_CLASSES = 20
"""Largest number of distinct integers in a target that are class labels."""

MAX_CATEGORIES = 10_000
"""Distinct values of a categorical column, and classes of a target."""

MAX_VALUES = 1 << 27
"""Numbers in a table, rows times features."""

MAX_ERRORS = 1_000_000
"""Rows that cannot be read."""

FLOAT32_MAX = float(np.finfo(np.float32).max)

MAX_ROUNDING = 1e-6
"""Rounding to float32 that needs no offset, in deviations of the column."""

Encoder = Callable[[str], float]
"""Function from a cell to a number, which may raise a ValueError."""


class Encoded(NamedTuple):
  """The numbers of a table."""

  values: np.ndarray
  """float64 `[K, P]`: a number or the position of a category, of each cell."""

  lines: np.ndarray
  """int64 `[K]`, line in the file of each of the K readable rows."""

  errors: list[tuple[int, str]]
  """Line and reason of the other rows."""


def are_classes(distinct: Sequence[str]) -> bool:
  """Returns whether the distinct values of a target are class names.

  More than 20 values of which at least 90% are numbers are a numeric target
  with some malformed cells. See `table_csv` for the rule.
  """
  numbers = [value for value in map(number, distinct) if value is not None]
  if len(distinct) > MAX_INTEGER_CLASSES and len(numbers) >= 0.9 * len(
    distinct
  ):
    return False
  integers = all(math.isfinite(x) and x == int(x) for x in numbers)
  return len(numbers) < len(distinct) or integers


def distinct_values(
  rows: Iterable[Row], positions: Sequence[int]
) -> list[set[str]]:
  """Returns the distinct cells of some columns, without empty ones."""
  values: list[set[str]] = [set() for _ in positions]
  for row in rows:
    for cells, position in zip(values, positions, strict=True):
      cells.add(row.cells[position])
  return [cells - {""} for cells in values]


def categories(distinct: Iterable[str]) -> tuple[str, ...]:
  """Returns the sorted categories that distinct cells stand for.

  If all are numbers, those of equal value such as "1" and "1.0" are one
  category, which has the name of the shortest.
  """
  distinct = sorted(distinct, key=lambda cell: (len(cell), cell))
  if None in map(number, distinct):
    return tuple(sorted(distinct))
  by_value: dict[float, str] = {}
  for cell in distinct:
    by_value.setdefault(float(cell), cell)
  return tuple(by_value[value] for value in sorted(by_value))


def equal_values(distinct: Iterable[str]) -> list[list[str]]:
  """Returns the sorted groups of different cells that are equal numbers."""
  groups: dict[float, list[str]] = {}
  for cell in sorted(distinct):
    value = number(cell)
    if value is not None:
      groups.setdefault(value, []).append(cell)
  return [group for group in groups.values() if len(group) > 1]


def check_categories(column: str, count: int) -> None:
  """Checks the number of categories of a column.

  Raises:
    UserError: there are more than 10,000.
  """
  if count > MAX_CATEGORIES:
    raise UserError(
      f"expected at most {MAX_CATEGORIES:,} distinct values in the "
      f"column {column!r}",
      f"got {count:,}",
      "leave it out with columns, or group its values",
    )


def encode(
  rows: Iterable[Row], columns: Sequence[str], encoders: Sequence[Encoder]
) -> Encoded:
  """Returns the numbers of the readable rows.

  Args:
    rows: the cells of `columns`.
    columns: their names.
    encoders: one for each column.

  Raises:
    UserError: there are more than 2^27 numbers, or a million rows that cannot
      be read.
  """
  values, lines = array.array("d"), array.array("q")
  errors: list[tuple[int, str]] = []
  for row in rows:
    try:
      values.extend(_encode_row(row, columns, encoders))
    except ValueError as error:
      errors.append((row.line, str(error)))
      _check_errors(errors)
    else:
      lines.append(row.line)
      check_size(len(lines), len(columns))
  matrix = np.frombuffer(values).reshape(len(lines), len(columns))
  return Encoded(matrix, np.frombuffer(lines, np.int64), errors)


def _encode_row(
  row: Row, columns: Sequence[str], encoders: Sequence[Encoder]
) -> list[float]:
  """Returns the numbers of a row, or raises a ValueError with the reason."""
  if row.error:
    raise ValueError(row.error)
  numbers = []
  for column, encoder, cell in zip(columns, encoders, row.cells, strict=True):
    try:
      numbers.append(encoder(cell))
    except ValueError as error:
      raise ValueError(f"{error} in column {column!r}") from None
  return numbers


def _check_errors(errors: Sequence[tuple[int, str]]) -> None:
  if len(errors) > MAX_ERRORS:
    line, reason = errors[0]
    raise UserError(
      "expected a table of numbers and categories",
      f"got more than {MAX_ERRORS:,} bad rows, the first in line {line}: "
      f"{reason}",
    )


def check_size(rows: int, features: int) -> None:
  """Checks the size of a table.

  Raises:
    UserError: it has more than 2^27 numbers.
  """
  if rows * features > MAX_VALUES:
    raise UserError(
      f"expected at most {MAX_VALUES:,} numbers, rows times features",
      f"got at least {rows:,} x {features:,}",
      "select columns, or use fewer rows or categories",
    )


def to_features(
  values: np.ndarray,
  widths: Sequence[int | None],
  offsets: Sequence[float] | None = None,
) -> np.ndarray:
  """Returns float32 `[N, F]` with categories one-hot.

  Args:
    values: float64 `[N, P]`, as `Encoded.values`.
    widths: number of categories of each column, None for a number.
    offsets: number that is subtracted from each of the F features before they
      are rounded to float32; None for none.

  Raises:
    UserError: there are more than 2^27 numbers.
  """
  total = sum(width or 1 for width in widths)
  check_size(len(values), total)
  features = np.zeros((len(values), total), np.float32)
  start, rows = 0, np.arange(len(values))
  for column, width in enumerate(widths):
    if width is None:
      offset = offsets[start] if offsets else 0.0
      features[:, start] = values[:, column] - offset
    else:
      features[rows, start + values[:, column].astype(np.int64)] = 1
    start += width or 1
  return features


def offset(values: np.ndarray) -> float:
  """Returns the number to subtract before values are rounded to float32.

  It is 0 if the rounding is at most a millionth of the standard deviation,
  else the value that is nearest to the mean, so that integers stay integers.

  Args:
    values: float64 `[N]`.
  """
  if not len(values) or values.min() == values.max():
    return 0.0
  rounding = np.abs(values - values.astype(np.float32)).max()
  if rounding <= MAX_ROUNDING * values.std():
    return 0.0
  return float(values[np.abs(values - values.mean()).argmin()])


def number_encoder(cell: str) -> float:
  """Returns the number in a cell.

  Raises:
    ValueError: there is none, or it is not a finite float32.
  """
  if not cell:
    raise ValueError("an empty cell")
  value = number(cell)
  if value is None:
    raise ValueError(f"{_shorten(cell)!r}, not a number,")
  if not abs(value) <= FLOAT32_MAX:
    raise ValueError(f"{_shorten(cell)}, not a finite float32,")
  return value


def category_encoder(names: Sequence[str]) -> Encoder:
  """Returns a function from a cell to the position of its category.

  If all names are numbers, a cell may be another form of one: "1.0" for "1".
  """
  by_name = {name: float(position) for position, name in enumerate(names)}
  by_value: dict[float | None, float] = {}
  if None not in map(number, names):
    for name, position in by_name.items():
      by_value.setdefault(float(name), position)

  def encode_cell(cell: str) -> float:
    if not cell:
      raise ValueError("an empty cell")
    position = by_name.get(cell)
    if position is None and by_value:
      position = by_value.get(number(cell))
    if position is None:
      raise ValueError(f"{_shorten(cell)!r}, which train does not have,")
    return position

  return encode_cell


def same_category(
  names: Sequence[str],
) -> Callable[[Iterable[str]], tuple[str, ...]]:
  """Returns a function that replaces cells by the category that they mean.

  Cells of other categories stay as they are.
  """
  look_up = category_encoder(names)

  def replace(cells: Iterable[str]) -> tuple[str, ...]:
    replaced = set()
    for cell in cells:
      try:
        replaced.add(names[int(look_up(cell))])
      except ValueError:
        replaced.add(cell)
    return tuple(sorted(replaced))

  return replace


def _shorten(cell: str) -> str:
  return cell if len(cell) <= 60 else f"{cell[:60]}..."

"""Encoding of the text of a table as numbers."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dlcore.data.tables.csv_text import Row, number

MAX_INTEGER_CLASSES = 20
"""Largest number of distinct integers in a target that are class labels."""

FLOAT32_MAX = float(np.finfo(np.float32).max)


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


def distinct_values(rows: Sequence[Row], position: int) -> tuple[str, ...]:
  """Returns the sorted distinct cells of a column, numbers by value."""
  values = {row.cells[position] for row in rows} - {""}
  numeric = None not in map(number, values)
  return tuple(sorted(values, key=float) if numeric else sorted(values))


def to_arrays(
  rows: Sequence[Row],
  encoders: Sequence[Callable[[str], list[float]]],
  target: str,
) -> tuple[dict[str, np.ndarray], list[tuple[str, str]]]:
  """Returns features and target of the readable rows, and the other rows.

  Args:
    rows: with the target in the last cell.
    encoders: one for each cell; see `encoder` and `class_encoder`.
    target: `"label"` (int32) or `"target"` (float32).
  """
  values, _, errors = encode(rows, encoders)
  dtype = np.int32 if target == "label" else np.float32
  arrays = {
    "features": values[:, :-1].astype(np.float32),
    target: values[:, -1].astype(dtype),
  }
  return arrays, errors


def encode(
  rows: Sequence[Row], encoders: Sequence[Callable[[str], list[float]]]
) -> tuple[np.ndarray, list[Row], list[tuple[str, str]]]:
  """Returns float64 `[K, F]` of the readable rows, these rows, and the others.

  The others are pairs (name of the row, reason).
  """
  values, readable, errors = [], [], []
  for row in rows:
    try:
      if row.error:
        raise ValueError(row.error)
      numbers = []
      for position, to_numbers in enumerate(encoders):
        numbers += to_numbers(row.cells[position])
    except ValueError as error:
      column = "" if row.error else f" in column {row.names[position]!r}"
      errors.append((row.where, f"{error}{column}"))
    else:
      values.append(numbers)
      readable.append(row)
  shape = (len(values), len(values[0]) if values else len(encoders))
  return np.array(values, np.float64).reshape(shape), readable, errors


def encoder(
  categories: Sequence[str] | None,
) -> Callable[[str], list[float]]:
  """Returns a function from a cell to numbers, which may raise ValueError.

  Args:
    categories: values that are encoded one-hot; None for a number.
  """
  if categories is None:
    return _to_number
  one_hot = np.eye(len(categories)).tolist()
  return functools.partial(
    _look_up, dict(zip(categories, one_hot, strict=True))
  )


def class_encoder(classes: Sequence[str]) -> Callable[[str], list[float]]:
  """Returns a function from the name of a class to its label."""
  labels = {name: [float(label)] for label, name in enumerate(classes)}
  return functools.partial(_look_up, labels)


def _to_number(cell: str) -> list[float]:
  if not cell:
    raise ValueError("an empty cell")
  value = number(cell)
  if value is None:
    raise ValueError(f"{cell!r}, not a number,")
  if not abs(value) <= FLOAT32_MAX:
    raise ValueError(f"{cell}, not a finite float32,")
  return [value]


def _look_up(values: Mapping[str, list[float]], cell: str) -> list[float]:
  if not cell:
    raise ValueError("an empty cell")
  if cell not in values:
    raise ValueError(f"{cell!r}, which train does not have,")
  return values[cell]

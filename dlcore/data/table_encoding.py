"""From the text of a table to numbers, and what is wrong with it."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dlcore.data.source import Arrays
from dlcore.data.table_text import Row, number
from dlcore.errors import UserError

FEW = 20
"""Up to so many distinct integers in a target are taken for classes."""

LARGEST = float(np.finfo(np.float32).max)


def are_classes(distinct: Sequence[str]) -> bool:
  """Whether the different values of a target are classes; see `table_csv`.

  Many values of which nearly all are numbers are a number column with mistakes
  in it, not that many classes.
  """
  numbers = [value for value in map(number, distinct) if value is not None]
  if len(distinct) > FEW and len(numbers) >= 0.9 * len(distinct):
    return False
  integers = all(math.isfinite(x) and x == int(x) for x in numbers)
  return len(numbers) < len(distinct) or integers


def names_of(rows: Sequence[Row], place: int) -> list[str]:
  """Returns the different texts of a column, numbers in their order."""
  names = {row.cells[place] for row in rows} - {""}
  numeric = None not in map(number, names)
  return sorted(names, key=float) if numeric else sorted(names)


def encoded_names(encoding: Sequence[Mapping[str, Any]]) -> list[str]:
  """Returns the names of the features: one for every name of a column."""
  names = []
  for entry in encoding:
    column, categories = entry["column"], entry["categories"]
    named = [f"{column}={name}" for name in categories or ()]
    names += [column] if categories is None else named
  return names


def to_arrays(
  rows: Sequence[Row],
  encoding: Sequence[Mapping[str, Any]],
  about: Mapping[str, Any],
) -> tuple[Arrays, list[tuple[str, str]]]:
  """Returns features and target of the good rows, and the bad rows."""
  encoders = [encoder(entry) for entry in encoding]
  dtype = np.float32
  if about["target"] == "label":
    numbers = {name: [float(i)] for i, name in enumerate(about["classes"])}
    encoders[-1] = functools.partial(_look_up, numbers)
    dtype = np.int32
  values, _, bad = encode(rows, encoders)
  features = values[:, :-1].astype(np.float32)
  return {
    "features": features,
    about["target"]: values[:, -1].astype(dtype),
  }, bad


def encode(
  rows: Sequence[Row], encoders: Sequence[Callable[[str], list[float]]]
) -> tuple[np.ndarray, list[Row], list[tuple[str, str]]]:
  """Returns float64 `[K, F]` of the good rows, these rows, and the bad ones.

  A bad row is told as (where, what is wrong).
  """
  values, kept, bad = [], [], []
  for row in rows:
    try:
      if row.bad:
        raise ValueError(row.bad)
      numbers = []
      for place, to_numbers in enumerate(encoders):
        numbers += to_numbers(row.cells[place])
    except ValueError as error:
      column = "" if row.bad else f" in column {row.names[place]!r}"
      bad.append((row.where, f"{error}{column}"))
    else:
      values.append(numbers)
      kept.append(row)
  shape = (len(values), len(values[0]) if values else len(encoders))
  return np.array(values, np.float64).reshape(shape), kept, bad


def encoder(entry: Mapping[str, Any]) -> Callable[[str], list[float]]:
  """Returns what turns a cell into numbers, or raises ValueError."""
  names = entry["categories"]
  if names is None:
    return _to_number
  one_hot = np.eye(len(names)).tolist()
  return functools.partial(_look_up, dict(zip(names, one_hot, strict=True)))


def _to_number(cell: str) -> list[float]:
  if not cell:
    raise ValueError("an empty cell")
  value = number(cell)
  if value is None:
    raise ValueError(f"{cell!r}, not a number,")
  if not abs(value) <= LARGEST:
    raise ValueError(f"{cell}, not a finite float32,")
  return [value]


def _look_up(values: Mapping[str, list[float]], cell: str) -> list[float]:
  if not cell:
    raise ValueError("an empty cell")
  if cell not in values:
    raise ValueError(f"{cell!r}, which train does not have,")
  return values[cell]


def judge(
  bad: Sequence[tuple[str, str]], on_bad: str, parts: Mapping[str, Arrays]
) -> list[str]:
  """Returns a note on bad rows where they are skipped.

  Raises:
    UserError: there are bad rows and they are not to be skipped, or no others.
  """
  if not bad:
    return []
  empty = [name for name, part in parts.items() if not len(part["features"])]
  shown = "; ".join(f"{where}: {what}" for where, what in bad[:10])
  more = f"; and {len(bad) - 10} more" if len(bad) > 10 else ""
  if on_bad == "error" or empty:
    raise UserError(
      "expected a number or a name in every cell of the table",
      f"got {len(bad)} bad rows: {shown}{more}",
      "mend them, choose other data.columns (text: data.categorical), or "
      "leave them out with data.on_bad=skip",
    )
  return [f"{len(bad)} bad rows were left out: {shown}{more}"]

"""Types of columns, inferred from their distinct cells."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from dlcore.data.tables import date_text
from dlcore.data.tables.encoding import FLOAT32_MAX
from dlcore.data.tables.number_text import (
  NUMBER_FORMATS,
  has_grouped_points,
  is_boolean,
)
from dlcore.data.tables.raw_columns import NUMBER, RawColumn

MIN_DISTINCT = 20
"""Distinct cells above which 90% of one type decide the type of a column."""

SHARE = 0.9

SAMPLE = 200
"""Texts that are tried before all."""


class ColumnType(NamedTuple):
  """The type of a column and the format of its cells."""

  kind: str
  """"number", "date", "text" (categories, names or sentences) or "empty"."""

  format: str = "."
  """A key of `NUMBER_FORMATS`, or one of `date_text.DATE_FORMATS`."""

  ambiguous: bool = False
  """Whether day and month can be exchanged in every date."""


def infer(
  column: RawColumn, decimal: str = ".", day_first: bool = False
) -> ColumnType:
  """Returns the type of a column.

  Args:
    column: all its cells in the training file.
    decimal: the mark that is tried first, "." or ",".
    day_first: whether 1/2/2020 is in February.
  """
  texts = column.texts
  has_numbers = bool((column.codes == NUMBER).any())
  if column.overflow:
    return ColumnType("text")
  if not texts:
    return ColumnType("number" if has_numbers else "empty")
  if not has_numbers and is_boolean(texts):
    return ColumnType("number", "boolean")
  numbers = len(np.unique(column.values[column.codes == NUMBER]))
  order = (decimal, "." if decimal == "," else ",")
  found = _best(texts, {f: NUMBER_FORMATS[f] for f in order}, numbers)
  if found == "," and has_grouped_points(texts):
    found = ",."
  if found:
    return ColumnType("number", found)
  if numbers and numbers + len(texts) > MIN_DISTINCT:
    if numbers >= SHARE * (numbers + len(texts)):
      return ColumnType("number", decimal)
    return ColumnType("text")
  names = dict.fromkeys(date_text.formats(day_first))
  found = _best(texts, {name: date_text.parser(name) for name in names}, 0)
  if not found or numbers:
    return ColumnType("text")
  other = date_text.alternative(found)
  ambiguous = other is not None and all(
    date_text.parser(other)(text) is not None for text in texts
  )
  return ColumnType("date", found, ambiguous)


def _best(
  texts: Sequence[str],
  parsers: dict[str, Callable[[str], float | None]],
  numbers: int,
) -> str | None:
  """Returns the first format of all texts, or that of at least 90%.

  Args:
    texts: the distinct texts.
    parsers: a function for each format.
    numbers: how many distinct numbers the column has besides.
  """
  shares = {}
  for name, parse in parsers.items():
    sample = texts[:: max(1, len(texts) // SAMPLE)]
    if sum(parse(text) is not None for text in sample) < len(sample) / 2:
      continue
    parsed = sum(parse(text) is not None for text in texts)
    if parsed == len(texts):
      return name
    shares[name] = (parsed + numbers) / (len(texts) + numbers)
  best = max(shares, key=shares.__getitem__, default=None)
  enough = best is not None and len(texts) + numbers > MIN_DISTINCT
  return best if enough and shares[best] >= SHARE else None


def to_numbers(column: RawColumn, found: ColumnType) -> np.ndarray:
  """Returns the numbers of a column, or its dates in seconds since 1970.

  Returns:
    float64 `[N]`, NaN where a cell is missing or of another type.
  """
  parsed = map(_parser(found), column.texts)
  by_code = np.asarray([np.nan if x is None else x for x in parsed], np.float64)
  values = column.values
  if found.kind == "date":
    values = np.full(len(values), np.nan)
  elif found.format == ",.":  # Plain "1.234" is 1234, as "1.234,5" shows.
    fractional = values != np.floor(values)
    values = np.where(fractional, np.round(values * 1000), values)
  if not len(by_code):
    return values
  by_code[np.abs(by_code) > FLOAT32_MAX] = np.nan
  return np.where(
    column.codes >= 0, by_code[np.maximum(column.codes, 0)], values
  )


def unparsed(column: RawColumn, found: ColumnType) -> list[str]:
  """Returns the texts of a column of numbers or dates that are neither."""
  parse = _parser(found)
  present = np.unique(column.codes[column.codes >= 0]).tolist()
  texts = [column.texts[code] for code in present]
  return [text for text in texts if parse(text) is None]


def _parser(found: ColumnType) -> Callable[[str], float | None]:
  if found.kind == "date":
    return date_text.parser(found.format)
  return NUMBER_FORMATS[found.format]


def to_names(column: RawColumn) -> tuple[np.ndarray, tuple[str, ...]]:
  """Returns the cells of a column as names, with numbers in shortest form.

  Returns:
    int64 `[N]`, the position of each name or -1 for a missing cell, and the
    names in the order of their numbers, or of their texts.
  """
  numeric = column.codes == NUMBER
  numbers, inverse = np.unique(column.values[numeric], return_inverse=True)
  by_name = {number_name(x): i for i, x in enumerate(numbers.tolist())}
  by_code = [by_name.setdefault(text, len(by_name)) for text in column.texts]
  order = list(by_name)
  if column.texts:
    order = sorted(by_name)
  rank = np.empty(len(order) + 1, np.int64)
  rank[[by_name[name] for name in order]] = np.arange(len(order))
  rank[-1] = -1
  positions = np.full(len(column.codes), -1, np.int64)
  positions[numeric] = inverse
  text = column.codes >= 0
  positions[text] = np.asarray(by_code, np.int64)[column.codes[text]]
  return rank[positions], tuple(order)


def number_name(value: float) -> str:
  """Returns a number as the name of a category: "1" for 1.0."""
  return str(int(value)) if value == int(value) else repr(value)

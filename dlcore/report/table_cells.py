"""Rows of a table as their values, from the features of the model."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlcore.report import markup
from dlcore.report.json_values import as_mapping, as_number
from dlcore.report.run import Run, offsets, schema

CYCLES = ("year", "week", "day")
"""Parts of a date that are a sine and a cosine each."""

MAX_DAYS = 1e6


class Cells(NamedTuple):
  """Values of rows as text."""

  columns: list[str]
  rows: list[list[str]]
  """`[M][K]`."""


def to_cells(run: Run, inputs: np.ndarray) -> Cells:
  """Returns the cells of features `[M, F]`.

  The columns are those of the user's file if `data.json` describes how they
  became features, and otherwise the features.
  """
  try:
    return _decode(run, inputs)
  except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
    return _features(run, inputs)


def _features(run: Run, inputs: np.ndarray) -> Cells:
  """Returns a column for each feature."""
  count = inputs.shape[1]
  columns = [str(name) for name in schema(run, "columns") or []]
  if len(columns) != count:
    is_text = "input_ids" in as_mapping(run.data.get("inputs"))
    noun = "token" if is_text else "feature"
    columns = [f"{noun} {index}" for index in range(count)]
  shifts = offsets(run, count)
  rows = [list(map(shifted, row, shifts)) for row in inputs.tolist()]
  return Cells(columns, rows)


def _decode(run: Run, inputs: np.ndarray) -> Cells:
  """Returns the columns of the file; raises if they do not fit `inputs`."""
  entries = schema(run, "plan") or []
  shifts = [0.0] * inputs.shape[1]
  if not entries:
    shifts = offsets(run, inputs.shape[1])
    entries = [_as_plan(entry) for entry in schema(run, "encoding") or []]
  widths = [_width(entry) for entry in entries]
  if not entries or sum(widths) != inputs.shape[1]:
    raise ValueError("features of other columns")
  columns, start = [], 0
  for entry, width in zip(entries, widths, strict=True):
    part = inputs[:, start : start + width].astype(float)
    columns.append(_column(entry, part, shifts[start]))
    start += width
  names = [str(entry["name"]) for entry in entries]
  return Cells(names, [list(row) for row in zip(*columns, strict=True)])


def _as_plan(entry: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a column of `encoding` as one of `plan`."""
  names = entry["categories"]
  kind = "number" if names is None else "category"
  return {"name": entry["column"], "kind": kind, "categories": names or []}


def _width(entry: Mapping[str, Any]) -> int:
  """Returns the number of features of a column."""
  parts = entry.get("parts", [])
  return (
    len(entry.get("categories", []))
    + bool(entry.get("other"))
    + (entry["kind"] == "number")
    + len(parts)
    + sum(part in CYCLES for part in parts)
    + bool(entry.get("indicator"))
  )


def _column(
  entry: Mapping[str, Any], features: np.ndarray, shift: float
) -> list[str]:
  """Returns the cells of one column of features `[M, F]`."""
  missing = np.zeros(len(features), bool)
  if entry.get("indicator"):
    features, missing = features[:, :-1], features[:, -1] > 0.5
  offset = shift + (as_number(entry.get("offset")) or 0.0)
  if entry["kind"] == "category":
    cells = _categories(entry, features)
  elif entry["kind"] == "date":
    cells = _dates(entry["parts"], features, offset)
    if entry.get("format") == "time":
      cells = [cell.rpartition(" ")[2] for cell in cells]
  else:
    cells = [shifted(value, offset) for value in features[:, 0].tolist()]
  return ["" if gone else c for c, gone in zip(cells, missing, strict=True)]


def _categories(entry: Mapping[str, Any], features: np.ndarray) -> list[str]:
  names = [*map(str, entry["categories"]), "(other)"]
  return [
    names[row.index(1.0)] if 1.0 in row else "" for row in features.tolist()
  ]


def _dates(
  parts: Sequence[str], features: np.ndarray, offset: float
) -> list[str]:
  """Returns dates, or times of day; the features of other cycles as numbers."""
  if parts[0] == "time":
    days = np.clip(features[:, 0] + offset, -MAX_DAYS, MAX_DAYS)
    minutes = np.rint(days * 1440).astype("datetime64[m]")
    unit = "m" if "day" in parts else "D"
    texts = np.datetime_as_string(minutes.astype(f"datetime64[{unit}]"))
    return [text.replace("T", " ") for text in texts.tolist()]
  if list(parts) == ["day"]:
    share = np.arctan2(features[:, 0], features[:, 1]) / (2 * np.pi) % 1
    minutes = np.rint(share * 1440).astype(int) % 1440
    return [f"{m // 60:02}:{m % 60:02}" for m in minutes.tolist()]
  show = markup.format_number
  return [" ".join(map(show, row)) for row in features.tolist()]


def shifted(value: float, offset: float) -> str:
  """Returns `value + offset` with the digits of `value`."""
  if not offset:
    return markup.format_number(value)
  digits = len(f"{value:.4g}".partition("e")[0].partition(".")[2])
  return markup.with_minus(f"{value + offset:,.{digits}f}")

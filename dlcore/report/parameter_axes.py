"""Axes of the parameters of a search: numbers, logarithms and categories."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dlcore.report import markup
from dlcore.report.axes import Axis, linear_axis, log_axis
from dlcore.report.search_content import (
  SearchResult,
  SearchTrial,
  is_plottable,
  paths,
)

MAX_LABEL = 24
"""Characters of a category on an axis."""

CHARACTER = 7
"""Pixels of a character of a label."""

LINE = 18
"""Pixels of the height of a label."""


class ParameterAxis(NamedTuple):
  """The axis of a parameter with the coordinates of the trials."""

  path: str
  axis: Axis
  coordinates: np.ndarray
  """`[N]`, the numbers or the indices of the categories. NaN for a trial
  without the parameter."""

  is_choice: bool


def parameter_axes(
  result: SearchResult, trials: Sequence[SearchTrial]
) -> list[ParameterAxis]:
  """Returns the axes of the parameters that at least one trial has."""
  known = [
    parameter_axis(
      path,
      [trial.values.get(path) for trial in trials],
      result.scales.get(path, "linear"),
    )
    for path in paths(result)
  ]
  return [axis for axis in known if axis is not None]


def parameter_axis(
  path: str, values: Sequence[Any], scale: str
) -> ParameterAxis | None:
  """Returns the axis of a parameter, None if no trial has it.

  Args:
    path: of the parameter.
    values: of the trials, None for a trial without the parameter.
    scale: `"linear"`, `"log"` or `"choice"`. Values that are not all finite
      numbers are a choice on any scale.
  """
  known = [value for value in values if value is not None]
  if not known:
    return None
  if scale == "choice" or not all(map(_is_number, known)):
    return _choice(path, values)
  numbers = np.array([np.nan if v is None else float(v) for v in values])
  if scale == "log":
    numbers[~(numbers > 0)] = np.nan
  finite = numbers[np.isfinite(numbers)]
  if not len(finite):
    return None
  axis = log_axis(finite) if scale == "log" else linear_axis(finite)
  if all(isinstance(value, int) for value in known):
    axis = integer_ticks(axis)
  return ParameterAxis(path, axis, numbers, False)


def _choice(path: str, values: Sequence[Any]) -> ParameterAxis:
  known = {label(value): value for value in values if value is not None}
  names = _in_order(known)
  index = {name: float(i) for i, name in enumerate(names)}
  coordinates = [np.nan if v is None else index[label(v)] for v in values]
  axis = Axis(
    -0.5,
    len(names) - 0.5,
    tuple(index.values()),
    lambda tick: shorten(names[round(tick)]),
  )
  return ParameterAxis(path, axis, np.array(coordinates, float), True)


def _in_order(values: dict[str, Any]) -> list[str]:
  """Returns labels in the order of their values, or of the alphabet."""
  try:
    return sorted(values, key=lambda name: values[name])
  except TypeError:  # Values of several types have no order.
    return sorted(values)


def integer_ticks(axis: Axis) -> Axis:
  """Returns an axis with the ticks that are integers, formatted as such."""
  ticks = tuple(tick for tick in axis.ticks if tick == round(tick))
  return dataclasses.replace(axis, ticks=ticks, format=markup.format_number)


def thinned(axis: Axis, pixels: float, *, vertical: bool = False) -> Axis:
  """Returns an axis with fewer ticks, whose labels do not overlap.

  Args:
    axis: the axis.
    pixels: its length.
    vertical: whether the labels are above one another.
  """
  options = [axis.ticks]
  if axis.logarithmic:
    options.append(tuple(t for t in axis.ticks if f"{t:e}"[0] == "1"))
  options += [axis.ticks[::stride] for stride in range(2, len(axis.ticks))]
  for ticks in options:
    if len(ticks) > 1 and _fit(axis, ticks, pixels, vertical):
      return dataclasses.replace(axis, ticks=ticks)
  ends = (axis.ticks[0], axis.ticks[-1]) if len(axis.ticks) > 2 else axis.ticks
  return dataclasses.replace(axis, ticks=ends)


def _fit(
  axis: Axis, ticks: Sequence[float], pixels: float, vertical: bool
) -> bool:
  """Returns whether the labels of some ticks do not overlap."""
  centers = axis.position(np.array(ticks)) * pixels
  lengths = np.array([len(axis.format(tick)) for tick in ticks], float)
  sizes = np.full(len(ticks), LINE) if vertical else CHARACTER * lengths + 8
  return bool((np.diff(centers) >= (sizes[1:] + sizes[:-1]) / 2).all())


def label(value: Any) -> str:
  """Returns a value as on the command line, such as `(128, 64)`."""
  return value if isinstance(value, str) else repr(value)


def format_parameter(value: Any) -> str:
  """Returns a value for a table, a float in about four digits."""
  if isinstance(value, float):
    return markup.format_number(value)
  return label(value)


def shorten(text: str) -> str:
  """Returns at most `MAX_LABEL` characters of a text."""
  if len(text) <= MAX_LABEL:
    return text
  return text[: MAX_LABEL - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _is_number(value: Any) -> bool:
  """Returns whether a value is a number that an axis can have."""
  if isinstance(value, bool) or not isinstance(value, int | float):
    return False
  return is_plottable(value)

"""Charts of the metric over each parameter of a search."""

import dataclasses
import math

import numpy as np

from dlcore.report import clipped_marks, markup, plots, scores
from dlcore.report.axes import Axis
from dlcore.report.markup import Markup, tag
from dlcore.report.parameter_axes import (
  CHARACTER,
  ParameterAxis,
  parameter_axes,
  thinned,
)
from dlcore.report.search_content import (
  BEST,
  COMPLETE,
  CONFIG,
  PRUNED,
  TRIAL,
  SearchResult,
  SearchTrial,
  best_name,
  best_trial,
  describe,
  has_value,
  legend,
  value_axis,
  values_of,
)

MAX_TOOLTIPS = 4000
"""Dots of all charts together up to which each has a tooltip."""

PIXELS = 214
"""Width of the smallest chart."""

LINE_LENGTH = 6
"""Characters of a line of a category, whose label can have three lines."""

MAX_CATEGORIES = 24
"""Number of categories up to which each has a label."""


def slices(result: SearchResult) -> Markup | None:
  """Returns a scatter chart for each parameter, the most important first."""
  trials = [trial for trial in result.trials if has_value(trial)]
  if len(trials) < 2:
    return None
  parameters = parameter_axes(result, trials)
  if not parameters:
    return None
  parameters.sort(key=lambda one: -result.importance.get(one.path, 0.0))
  y = value_axis(result)
  tooltips = len(trials) * len(parameters) <= MAX_TOOLTIPS
  charts = [_chart(result, trials, one, y, tooltips) for one in parameters]
  note = (
    f"The vertical axis of each chart is the {scores.title(result.metric)}."
  )
  note += clipped_marks.clipped_note(y, values_of(trials), "trial")
  return markup.section(
    "Slices",
    tag("p", note, class_="note"),
    legend(_keys(result, trials)),
    tag("div", *charts, class_="charts small slices"),
  )


def _chart(
  result: SearchResult,
  trials: list[SearchTrial],
  parameter: ParameterAxis,
  y: Axis,
  tooltips: bool,
) -> Markup:
  """Returns the chart of one parameter."""
  marks = []
  for style, rows in _rows_by_style(result, trials).items():
    rows = rows[np.isfinite(parameter.coordinates[rows])]
    across = parameter.coordinates[rows]
    up = values_of([trials[row] for row in rows])
    if not tooltips:
      marks.append(clipped_marks.dots(parameter.axis, y, across, up, style))
      continue
    for row, at in zip(rows, zip(across, up, strict=True), strict=True):
      title = describe(result, trials[row])
      marks.append(clipped_marks.dot(parameter.axis, y, at, style, title))
  x, style = _layout(parameter)
  scale = "log scale" if x.logarithmic else ""
  chart = plots.frame(parameter.path, x, y, marks, scale, [])
  return tag("div", chart, **style)


def _rows_by_style(
  result: SearchResult, trials: list[SearchTrial]
) -> dict[str, np.ndarray]:
  """Returns the indices of the trials of each style, in drawing order."""
  best = best_trial(result)
  styles = {
    "dots other": [t.state == PRUNED for t in trials],
    f"dots {TRIAL}": [t.state == COMPLETE for t in trials],
    f"dot mean {CONFIG}": [t.is_config for t in trials],
    f"dot mean {BEST}": [
      best is not None and t.number == best.number for t in trials
    ],
  }
  return {style: np.flatnonzero(mask) for style, mask in styles.items()}


def _layout(parameter: ParameterAxis) -> tuple[Axis, dict[str, str]]:
  """Returns the axis with labels that fit, and attributes of the chart."""
  axis = parameter.axis
  if not parameter.is_choice:
    return thinned(axis, PIXELS), {}
  count = len(axis.ticks)
  longest = max(len(axis.format(tick)) for tick in axis.ticks)
  needed = count * (CHARACTER * min(longest, LINE_LENGTH) + 8)
  stride = math.ceil(count / MAX_CATEGORIES)
  axis = dataclasses.replace(axis, ticks=axis.ticks[::stride])
  wide = " wide" if needed > PIXELS else ""
  columns = f"--columns:{len(axis.ticks)}"
  return axis, {"class_": f"categories{wide}", "style": columns}


def _keys(
  result: SearchResult, trials: list[SearchTrial]
) -> list[tuple[str, str]]:
  """Returns the entries of the legend, the best trial first."""
  names = ("pruned", "complete", "config", best_name(result))
  rows = _rows_by_style(result, trials)
  keys = [
    (name, style.split()[-1])
    for (style, indices), name in zip(rows.items(), names, strict=True)
    if len(indices)
  ]
  return keys[::-1]

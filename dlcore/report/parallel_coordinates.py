"""A chart with a vertical axis for each parameter of a search."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from dlcore.report import clipped_marks, markup, plots, scores
from dlcore.report.markup import Markup, tag
from dlcore.report.parameter_axes import (
  ParameterAxis,
  parameter_axes,
  thinned,
)
from dlcore.report.search_content import (
  BEST,
  CONFIG,
  TRIAL,
  SearchResult,
  SearchTrial,
  best_name,
  describe,
  has_value,
  legend,
  ranked,
  value_axis,
  values_of,
)

HEIGHT = 340
"""Pixels of the drawing."""

GAP = 0.14
"""Share of the height below the axes for trials without a parameter."""

INACTIVE = 0.96
"""Position of these trials, from the top."""

HIGHLIGHTED = 0.1
"""Share of the complete trials that are highlighted."""

STYLES = {
  "line other faint": "others",
  "line other soft": "better half",
  f"line {TRIAL}": "best tenth",
  f"line {CONFIG}": "config",
  f"line {BEST} bold": "",
}
"""Names in the legend by CSS classes, in drawing order. That of the best trial
has its number."""


def parallel_coordinates(result: SearchResult) -> Markup | None:
  """Returns the chart of all trials with a value, one line per trial."""
  trials = [trial for trial in result.trials if has_value(trial)]
  columns = _columns(result, trials) if len(trials) > 1 else []
  if len(columns) < 2:
    return None
  styles = _styles(result, trials)
  titles = [describe(result, trial) for trial in trials]
  chart = _chart(columns, styles, titles)
  note = "A line is a trial, complete or pruned."
  note += clipped_marks.clipped_note(
    columns[-1].axis, values_of(trials), "trial", "axis of the metric"
  )
  return markup.section(
    "Parallel coordinates",
    tag("p", note, class_="note"),
    legend(_keys(result, set(styles))),
    tag("div", chart, class_="scroll"),
  )


def _chart(
  columns: Sequence[ParameterAxis], styles: Sequence[str], titles: Sequence[str]
) -> Markup:
  """Draws a line per trial through its positions on the axes.

  Args:
    columns: the axes from left to right.
    styles: CSS classes of the trials.
    titles: tooltips of the trials.
  """
  gap = any(np.isnan(column.coordinates).any() for column in columns)
  height = 1 - GAP if gap else 1.0
  tops = np.stack([_from_top(c, height) for c in columns], -1)  # [N, P]
  lefts = np.linspace(0, 1, len(columns))
  order = sorted(range(len(styles)), key=lambda i: [*STYLES].index(styles[i]))
  marks = [
    tag(
      "path",
      tag("title", titles[row]),
      d=_commands(lefts, tops[row]),
      class_=styles[row],
    )
    for row in order
  ]
  labels = [
    label
    for index, (left, column) in enumerate(zip(lefts, columns, strict=True))
    for label in _labels(column, left, height, index == len(columns) - 1)
  ]
  drawing = _drawing(lefts, height, marks)
  plot = tag("div", drawing, *labels, class_="plot")
  size = f"--axes:{len(columns)}"
  return tag("figure", plot, class_="coordinates", style=size)


def _columns(
  result: SearchResult, trials: list[SearchTrial]
) -> list[ParameterAxis]:
  """Returns the axes from left to right, the metric last."""
  y = value_axis(result)
  values = clipped_marks.clip(y, values_of(trials))
  metric = ParameterAxis(scores.title(result.metric), y, values, False)
  return [*parameter_axes(result, trials), metric]


def _from_top(column: ParameterAxis, height: float) -> np.ndarray:
  """Returns the positions `[N]` of the trials on an axis, 0 at the top."""
  positions = height * (1 - column.axis.position(column.coordinates))
  return np.where(np.isnan(positions), INACTIVE, positions)


def _styles(result: SearchResult, trials: list[SearchTrial]) -> list[str]:
  """Returns the CSS classes of the trials, by the quantiles of the values."""
  complete = [trial.number for trial in ranked(result)]
  rank = {number: index for index, number in enumerate(complete)}
  faint, soft, top, config, best = STYLES
  last = math.ceil(HIGHLIGHTED * len(complete))

  def style(trial: SearchTrial) -> str:
    position = rank.get(trial.number, len(complete))
    if position == 0 and complete:
      return best
    if trial.is_config:
      return config
    if position < last:
      return top
    return soft if position < len(complete) / 2 else faint

  return [style(trial) for trial in trials]


def _commands(lefts: np.ndarray, tops: np.ndarray) -> str:
  units = np.rint(np.stack([lefts, tops], -1) * plots.SIZE).astype(int)
  return "M" + "L".join(f"{a} {b}" for a, b in units.tolist())


def _drawing(lefts: np.ndarray, height: float, marks: list[Markup]) -> Markup:
  """Returns the lines behind the vertical axes."""
  low = round(height * plots.SIZE)
  axes = "".join(f"M{round(left * plots.SIZE)} 0V{low}" for left in lefts)
  return tag(
    "svg",
    *marks,
    tag("path", d=axes, class_="axis"),
    viewBox=f"0 0 {plots.SIZE} {plots.SIZE}",
    preserveAspectRatio="none",
    role="img",
    aria_label="parallel coordinates",
  )


def _labels(
  column: ParameterAxis, left: float, height: float, is_last: bool
) -> list[Markup]:
  """Returns the name of an axis, its ticks, and the gap if it has one."""
  at = f"left:{100 * left:.2f}%"
  side = "tick last" if is_last else "tick"
  axis = thinned(column.axis, height * HEIGHT, vertical=True)
  if len(axis.ticks) > 7 and not column.is_choice:
    axis = dataclasses.replace(axis, ticks=axis.ticks[::2])
  labels = [tag("span", _breakable(column.path), class_="name", style=at)]
  for tick in axis.ticks:
    top = 100 * height * (1 - float(axis.position(tick)))
    style = f"{at};top:{top:.2f}%"
    labels.append(tag("span", axis.format(tick), class_=side, style=style))
  if np.isnan(column.coordinates).any():
    style = f"{at};top:{100 * INACTIVE:.2f}%"
    labels.append(tag("span", "inactive", class_=side, style=style))
  return labels


def _breakable(path: str) -> Markup:
  """Returns a config path that a line break can divide after its dots."""
  first, *others = path.split(".")
  breaks = [part for name in others for part in (".", Markup("<wbr>"), name)]
  return markup.join(first, *breaks)


def _keys(result: SearchResult, used: set[str]) -> list[tuple[str, str]]:
  """Returns the entries of the legend, the best trial first."""
  return [
    (name or best_name(result), style.removeprefix("line "))
    for style, name in reversed(STYLES.items())
    if style in used
  ]

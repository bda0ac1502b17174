"""Sections of the arrays whose names a kind of task chooses."""

import numpy as np

from dlcore.report import axes, markup, plots
from dlcore.report.markup import Markup, tag
from dlcore.report.run import Run, class_names
from dlcore.report_arrays import BY_CLASS, BY_POSITION, HISTOGRAM

MAX_CHARTS = 24
MAX_ROWS = 100


def histograms(run: Run) -> Markup:
  """Returns a histogram of every array `histogram/TITLE`."""
  arrays = run.named(HISTOGRAM)
  charts = [
    plots.histogram(title, values.astype(float), "value")
    for title, values in list(arrays.items())[:MAX_CHARTS]
  ]
  parts = [tag("div", *charts, class_="charts")]
  if len(arrays) > MAX_CHARTS:
    note = f"The first {MAX_CHARTS} of {len(arrays):,} histograms."
    parts.insert(0, tag("p", note, class_="note"))
  return markup.section(f"Distributions, {run.split}", *parts)


def by_position(run: Run) -> Markup | None:
  """Returns a curve over the positions of every array `by_position/TITLE`."""
  charts = []
  for title, values in list(run.named(BY_POSITION).items())[:MAX_CHARTS]:
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
      continue
    line = plots.Line(title, known + 1.0, values[known].astype(float), "test")
    axis = axes.linear_axis(line.y)
    charts.append(
      plots.line_chart(title, [line], axis, x_label="position of the token")
    )
  if not charts:
    return None
  grid = tag("div", *charts, class_="charts")
  return markup.section(f"By position, {run.split}", grid)


def by_class(run: Run) -> Markup:
  """Returns the table with a column of every array `by_class/TITLE`."""
  columns = run.named(BY_CLASS)
  count = max(map(len, columns.values()))
  names = class_names(run, count)
  rows = [
    [names[i], *(_cell(values, i) for values in columns.values())]
    for i in range(min(count, MAX_ROWS))
  ]
  parts = [markup.table(["class", *columns], rows)]
  if count > MAX_ROWS:
    note = f"The first {MAX_ROWS} of {count:,} classes."
    parts.insert(0, tag("p", note, class_="note"))
  return markup.section(f"By class, {run.split}", *parts)


def _cell(values: np.ndarray, index: int) -> str:
  """Returns a number as text, empty if it is missing or NaN."""
  if index >= len(values) or np.isnan(values[index]):
    return ""
  return markup.format_number(float(values[index]))

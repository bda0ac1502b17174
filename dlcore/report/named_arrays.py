"""Sections of the arrays whose names a kind of task chooses."""

import numpy as np

from dlcore.report import markup, plots
from dlcore.report.markup import Markup, tag
from dlcore.report.run import Run, class_names
from dlcore.report_arrays import BY_CLASS, HISTOGRAM

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

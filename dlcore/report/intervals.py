"""One figure of what several groups reached: means with their intervals."""

from collections.abc import Sequence

import numpy as np

from dlcore.report import estimates, markup, plots, scores
from dlcore.report.comparison import group_style
from dlcore.report.groups import Comparison
from dlcore.report.markup import Markup, tag

NAME = 40
"""Characters of a name in the figure."""


def intervals(found: Comparison) -> Markup | None:
  """Returns the figure of the number to be read first, a row for a group."""
  key = scores.main_metric(found.groups)
  if key is None or len(found.groups) < 2:
    return None
  values = {
    index: np.asarray(list(scores.values(group, key).values()), float)
    for index, group in enumerate(found.groups)
  }
  values = {i: row for i, row in values.items() if np.isfinite(row).all()}
  values = {i: row for i, row in values.items() if len(row)}
  if not any(len(row) > 1 for row in values.values()):
    return None
  names = [found.groups[index].name for index in values]
  styles = [group_style(index) for index in values]
  title = scores.words(key)
  note = (
    "Mean over the seeds and its 95% interval by Student's t; the small dots "
    f"are the seeds, the dashed line is the mean of {names[0]}."
  )
  chart = interval_chart(
    title, names, list(values.values()), styles, scores.metric(key)
  )
  return markup.section("At a glance", tag("p", note, class_="note"), chart)


def interval_chart(
  title: str,
  names: Sequence[str],
  rows: Sequence[np.ndarray],
  styles: Sequence[str],
  metric: str,
) -> Markup:
  """Draws a row for each name: its values, their mean and its interval.

  Args:
    title: stands above.
    names: of the rows, the first on top.
    rows: finite values, at least one for each name.
    styles: CSS class of each row.
    metric: what is measured, for the numbers on the axis.
  """
  found = [estimates.interval(row) for row in rows]
  ends = [e.mean + sign * (e.half or 0.0) for e in found for sign in (-1, 1)]
  percent = markup.is_share(metric)
  x = plots.linear_axis(np.concatenate([*rows, ends]), percent=percent)
  last = len(rows) - 1
  y = plots.Axis(
    -0.5,
    last + 0.5,
    tuple(float(i) for i in range(len(rows))),
    lambda tick: names[last - round(tick)][:NAME],
  )
  marks = [plots.upright(x, found[0].mean)]
  for index, (row, estimate, style) in enumerate(
    zip(rows, found, styles, strict=True)
  ):
    at = float(last - index)
    half = estimate.half or 0.0
    whole = np.array([estimate.mean - half, estimate.mean + half])
    marks += [
      plots.level(x, y, whole, at, f"line {style}"),
      plots.dots(x, y, row, at, f"dots {style}"),
      plots.dots(x, y, whole[:1] + half, at, f"dot mean {style}"),
    ]
  chart = plots.frame("", x, y, marks, title, [])
  return tag("div", chart, class_="named", style=f"--rows:{len(rows)}")

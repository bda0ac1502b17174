"""A figure of the main metric of several groups: means with intervals."""

from collections.abc import Sequence

import numpy as np

from dlcore.report import axes, estimates, markup, plots, scores
from dlcore.report.groups import Comparison
from dlcore.report.markup import Markup, tag
from dlcore.report.metric_display import display

MAX_NAME = 40
"""Characters of a name in the figure."""


def intervals(subject: Comparison) -> Markup | None:
  """Returns the figure of the main metric, with a row per group."""
  key = scores.main_metric(subject.groups)
  if key is None or len(subject.groups) < 2:
    return None
  values = {
    index: np.asarray(list(scores.values(group, key).values()), float)
    for index, group in enumerate(subject.groups)
  }
  values = {
    index: row
    for index, row in values.items()
    if len(row) and np.isfinite(row).all()
  }
  if not any(len(row) > 1 for row in values.values()):
    return None
  names = [subject.groups[index].name for index in values]
  styles = [plots.group_style(index) for index in values]
  unit = subject.unit
  note = (
    f"Mean over the {unit}s and its 95% interval by Student's t. The small "
    f"dots are the {unit}s, the dashed line is the mean of {names[0]}."
  )
  chart = interval_chart(
    scores.title(key),
    names,
    list(values.values()),
    styles,
    scores.metric(key),
  )
  return markup.section("At a glance", tag("p", note, class_="note"), chart)


def interval_chart(
  title: str,
  names: Sequence[str],
  rows: Sequence[np.ndarray],
  styles: Sequence[str],
  metric: str,
) -> Markup:
  """Draws a row per name: its values, their mean and its interval.

  Args:
    title: label of the horizontal axis.
    names: of the rows, from top to bottom.
    rows: finite values `[N]`, at least one per name.
    styles: CSS class of each row.
    metric: name of the metric, for the numbers on the axis.
  """
  means = [estimates.interval(row) for row in rows]
  ends = [e.mean + sign * (e.half or 0.0) for e in means for sign in (-1, 1)]
  percent = display(metric).percent
  x = axes.linear_axis(np.concatenate([*rows, ends]), percent=percent)
  last = len(rows) - 1
  y = axes.Axis(
    -0.5,
    last + 0.5,
    tuple(float(i) for i in range(len(rows))),
    lambda tick: names[last - round(tick)][:MAX_NAME],
  )
  marks = [plots.vertical(x, means[0].mean)]
  for index, (row, estimate, style) in enumerate(
    zip(rows, means, styles, strict=True)
  ):
    height = float(last - index)
    half = estimate.half or 0.0
    whole = np.array([estimate.mean - half, estimate.mean + half])
    marks += [
      plots.horizontal(x, y, whole, height, f"line {style}"),
      plots.dots(x, y, row, height, f"dots {style}"),
      plots.dots(x, y, whole[:1] + half, height, f"dot mean {style}"),
    ]
  chart = plots.frame("", x, y, marks, title, [])
  return tag("div", chart, class_="named", style=f"--rows:{len(rows)}")

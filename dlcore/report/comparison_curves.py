"""The curves of several runs in one chart: means over runs with bands."""

from collections.abc import Sequence

import numpy as np

from dlcore.report import markup, plots, scores, wall_time
from dlcore.report.comparison import color_key
from dlcore.report.curve_reader import Curve
from dlcore.report.curves import (
  MAX_CHARTS,
  OPTIMIZATION,
  VALID,
  axis,
  is_split,
  joined,
  split_order,
)
from dlcore.report.groups import Comparison, Group
from dlcore.report.markup import Markup, tag
from dlcore.report.metric_display import display
from dlcore.report.run import Run


def curves(subject: Comparison) -> Markup | None:
  """Returns the charts of loss and metrics, the groups together."""
  charts = [
    _step_chart(subject.groups, metric, split)
    for metric in _metrics(subject.groups)
    for split in _splits(subject.groups, metric)
  ]
  return _section("Curves", subject, charts)


def curves_over_time(subject: Comparison) -> Markup | None:
  """Returns the charts of the validation splits over the wall time."""
  if len(subject.groups) < 2:
    return None
  charts = [
    _time_chart(subject.groups, metric, split)
    for metric in _metrics(subject.groups)
    for split in _splits(subject.groups, metric)
    if f"{split}/".startswith(VALID)
  ]
  return _section("Validation over wall time", subject, charts)


def _metrics(of: Sequence[Group]) -> list[str]:
  """Returns the names of the metrics of quality, the loss first."""
  metrics = dict.fromkeys(
    metric
    for group in of
    for run in group.runs
    for metric, by_split in run.curves.items()
    if metric not in OPTIMIZATION and any(map(is_split, by_split))
  )
  return sorted(metrics, key=lambda name: name != "loss")[:MAX_CHARTS]


def _section(
  title: str, subject: Comparison, charts: Sequence[Markup | None]
) -> Markup | None:
  """Returns a section of charts with a legend, None without charts."""
  charts = list(filter(None, charts))[:MAX_CHARTS]
  if not charts:
    return None
  keys = [color_key(i, group.name) for i, group in enumerate(subject.groups)]
  parts = [tag("p", *keys, class_="legend")] if len(keys) > 1 else []
  if any(len(plotted(group)) > 1 for group in subject.groups):
    ends = "with a band from the minimum to the maximum."
    note = tag("p", f"Mean over the {subject.unit}s, {ends}", class_="note")
    parts.insert(0, note)
  parts.append(tag("div", *charts, class_="charts"))
  return markup.section(title, *parts)


def over_seeds(
  curves: Sequence[Curve],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """Returns steps, mean, minimum and maximum of curves, each `[T]`.

  The steps are those of the longest curve. A shorter curve contributes up to
  its own end.
  """
  steps = max(curves, key=lambda curve: (curve.steps[-1], len(curve.steps)))[0]
  rows = np.stack(
    [
      np.interp(steps, *curve, left=np.nan, right=np.nan)  # pyright: ignore
      for curve in curves
    ]
  )
  mean, low, high = (f(rows, 0) for f in (np.nanmean, np.nanmin, np.nanmax))
  return steps, mean, low, high


def _splits(of: Sequence[Group], metric: str) -> list[str]:
  """Returns the splits in which a metric was logged, test before valid."""
  logged = {
    split
    for group in of
    for run in plotted(group)
    for split in run.curves.get(metric, ())
  }
  return sorted(
    filter(is_split, logged), key=lambda split: split_order(split, scores.ORDER)
  )


def _step_chart(of: Sequence[Group], metric: str, split: str) -> Markup | None:
  by_group = [
    [joined(run, metric)[0].get(split) for run in plotted(group)]
    for group in of
  ]
  return _chart(of, f"{split} {display(metric).title}", metric, by_group)


def _time_chart(of: Sequence[Group], metric: str, split: str) -> Markup | None:
  by_group = [
    [wall_time.over_time(run, metric).get(split) for run in plotted(group)]
    for group in of
  ]
  ends = [c.steps[-1] for curves in by_group for c in curves if c is not None]
  unit = wall_time.time_unit(max(ends, default=0.0))
  scaled = [
    [c and Curve(c.steps / wall_time.UNITS[unit], c.values) for c in curves]
    for curves in by_group
  ]
  name = f"{split} {display(metric).title}"
  return _chart(of, name, metric, scaled, x_label=f"wall time, {unit}")


def _chart(
  of: Sequence[Group],
  name: str,
  metric: str,
  by_group: Sequence[Sequence[Curve | None]],
  x_label: str = "step",
) -> Markup | None:
  """Returns a chart of the curves of each group's runs, None for runs without.

  Args:
    of: the groups.
    name: of the chart.
    metric: of the values.
    by_group: the curves.
    x_label: of the axis.
  """
  lines, bands = [], []
  for index, (group, known) in enumerate(zip(of, by_group, strict=True)):
    curves = [curve for curve in known if curve is not None]
    if not curves:
      continue
    steps, mean, low, high = over_seeds(curves)
    style = plots.group_style(index)
    lines.append(plots.Line(group.name, steps, mean, style))
    if len(curves) > 1:
      bands.append(plots.Band(steps, low, high, style))
  if not lines:
    return None
  values = [line.y for line in lines]
  values += [edge for band in bands for edge in (band.low, band.high)]
  y = axis(metric, np.concatenate(values))
  return plots.line_chart(
    name, lines, y, x_label=x_label, bands=bands, legend=False
  )


def plotted(group: Group) -> tuple[Run, ...]:
  """Returns the finished runs, or all of a group without finished runs."""
  return group.finished or group.runs

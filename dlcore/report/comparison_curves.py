"""The curves of several runs in one chart: means over runs with bands."""

from collections.abc import Sequence

import numpy as np

from dlcore.report import markup, plots, scores
from dlcore.report.comparison import color_key
from dlcore.report.curve_reader import Curve
from dlcore.report.curves import (
  MAX_CHARTS,
  OPTIMIZATION,
  axis,
  is_split,
  split_order,
)
from dlcore.report.groups import Comparison, Group
from dlcore.report.markup import Markup, tag
from dlcore.report.metric_display import display
from dlcore.report.run import Run


def curves(subject: Comparison) -> Markup | None:
  """Returns the charts of loss and metrics, the groups together."""
  metrics = dict.fromkeys(
    metric
    for group in subject.groups
    for run in group.runs
    for metric, by_split in run.curves.items()
    if metric not in OPTIMIZATION and any(map(is_split, by_split))
  )
  names = sorted(metrics, key=lambda name: name != "loss")[:MAX_CHARTS]
  charts = [
    _chart(subject.groups, metric, split)
    for metric in names
    for split in _splits(subject.groups, metric)
  ]
  charts = list(filter(None, charts))[:MAX_CHARTS]
  if not charts:
    return None
  keys = [color_key(i, group.name) for i, group in enumerate(subject.groups)]
  parts = [tag("p", *keys, class_="legend")] if len(keys) > 1 else []
  if any(len(_plotted(group)) > 1 for group in subject.groups):
    ends = "with a band from the minimum to the maximum."
    note = tag("p", f"Mean over the {subject.unit}s, {ends}", class_="note")
    parts.insert(0, note)
  parts.append(tag("div", *charts, class_="charts"))
  return markup.section("Curves", *parts)


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
    for run in _plotted(group)
    for split in run.curves.get(metric, ())
  }
  return sorted(
    filter(is_split, logged), key=lambda split: split_order(split, scores.ORDER)
  )


def _chart(of: Sequence[Group], metric: str, split: str) -> Markup | None:
  lines, bands = [], []
  for index, group in enumerate(of):
    curves = [run.curves.get(metric, {}).get(split) for run in _plotted(group)]
    curves = [curve for curve in curves if curve is not None]
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
  name = f"{split} {display(metric).title}"
  return plots.line_chart(name, lines, y, bands=bands, legend=False)


def _plotted(group: Group) -> tuple[Run, ...]:
  """Returns the finished runs, or all of a group without finished runs."""
  return group.finished or group.runs

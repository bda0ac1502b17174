"""The curves: every metric over the steps."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dlcore.report import axes, markup, plots
from dlcore.report.curve_reader import MAX_VALUE, Curve
from dlcore.report.json_values import as_number
from dlcore.report.markup import Markup
from dlcore.report.metric_display import display
from dlcore.report.run import Run

MAX_CHARTS = 24
MAX_LINES = 8

OPTIMIZATION = ("learning_rate", "gradient_norm", "examples_per_second")
"""Metrics of the optimization, which are not measures of quality."""

LINEAR = ("learning_rate", "examples_per_second")
MIN_LOG_VALUE = 1e-30
"""Smaller values, including 0, do not fit on a logarithmic axis."""

SPLITS = ("train", "valid", "test")
"""In this order. A further validation set is the split `valid/NAME`."""

VALID = "valid/"


def curves(run: Run) -> Markup | None:
  """Returns the charts of loss and metrics, all splits together."""
  names = [
    name
    for name, by_split in run.curves.items()
    if name not in OPTIMIZATION and any(map(is_split, by_split))
  ]
  names.sort(key=lambda name: name != "loss")
  return _charts(run, "Curves", names[:MAX_CHARTS])


def optimization(run: Run) -> Markup | None:
  """Returns the charts of learning rate, gradient norm and throughput."""
  names = [name for name in OPTIMIZATION if name in run.curves]
  return _charts(run, "Optimization", names, "charts small")


def axis(metric: str, values: np.ndarray) -> axes.Axis:
  """Returns a linear, percent or logarithmic axis for values of a metric."""
  share = display(metric).percent and bool((np.abs(values) <= 1).all())
  decades = values.min() > MIN_LOG_VALUE and values.max() > 30 * values.min()
  if decades and not share and metric not in LINEAR:
    return axes.log_axis(values)
  return axes.linear_axis(values, percent=share)


def is_split(split: str) -> bool:
  """Returns whether a split consists of examples, unlike `"layers"`."""
  return split in SPLITS or split.startswith(VALID)


def split_order(split: str, order: tuple[str, ...] = SPLITS) -> tuple[int, str]:
  """Returns a sort key: splits in `order`, `valid/NAME` after `valid`."""
  root = split.partition("/")[0]
  return (*order, root).index(root), split


def _charts(
  run: Run, title: str, names: list[str], style: str = "charts"
) -> Markup | None:
  if not names:
    return None
  charts = [_chart(run, name) for name in names]
  return markup.section(title, markup.tag("div", *charts, class_=style))


def _chart(run: Run, metric: str) -> Markup:
  curves, begins = joined(run, metric)
  splits = sorted(curves, key=split_order)[:MAX_LINES]
  styles = _styles(splits)
  lines = [plots.Line(name, *curves[name], styles[name]) for name in splits]
  y = axis(metric, np.concatenate([line.y for line in lines]))
  validated = any(split.partition("/")[0] == "valid" for split in curves)
  best = as_number(run.summary.get("best_step")) if validated else None
  if best is not None and begins:
    best += begins[-1]
  title = display(metric).title
  return plots.line_chart(title, lines, y, mark=best, rules=begins)


def joined(run: Run, metric: str) -> tuple[dict[str, Curve], list[float]]:
  """Returns the curves of a metric over all phases, by split.

  Returns:
    The curves, and the steps at which the phases after the first begin.
  """
  begins = phase_starts(run)
  pieces: dict[str, list[Curve]] = {}
  parts = (*run.earlier, run.curves)
  for begin, part in zip([0.0, *begins], parts, strict=False):
    for split, curve in part.get(metric, {}).items():
      moved = Curve(curve.steps + begin, curve.values)
      pieces.setdefault(split, []).append(moved)
  return {
    split: Curve(*map(np.concatenate, zip(*curves, strict=True)))
    for split, curves in pieces.items()
  }, begins


def phase_starts(run: Run) -> list[float]:
  """Returns the steps at which the phases after the first begin."""
  return np.cumsum([_steps(phase) for phase in run.phases[:-1]]).tolist()


def _steps(phase: Mapping[str, Any]) -> float:
  """Returns the number of steps of a phase, 0 if it is malformed."""
  steps = as_number(phase.get("steps"))
  return steps if steps is not None and 0 <= steps < MAX_VALUE else 0.0


def _styles(splits: list[str]) -> dict[str, str]:
  """Returns the CSS class of each split; every `valid/NAME` has its own."""
  styles = {split: split if split in SPLITS else "other" for split in splits}
  named = [split for split in splits if split.startswith(VALID)]
  if "valid" not in splits and named:
    styles[named.pop(0)] = "valid"
  # The first colors of groups are those of train, valid and test.
  styles |= {
    split: plots.group_style(len(SPLITS) + index)
    for index, split in enumerate(named)
  }
  return styles

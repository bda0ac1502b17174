"""The curves: every metric over the steps."""

import numpy as np

from dlcore.report import markup, plots
from dlcore.report.markup import Markup
from dlcore.report.run import Run, number

MOST = 24
"""Charts of a kind on one page."""

MOST_LINES = 6

OPTIMIZATION = ("learning_rate", "gradient_norm", "examples_per_second")
"""What tells of the training itself, not of how well it is learned."""

LINEAR = ("learning_rate", "examples_per_second")
SMALLEST = 1e-30
"""Values below it, zero too, have no place on a logarithmic axis."""

SPLITS = ("train", "valid", "test")


def curves(run: Run) -> Markup | None:
  """Returns the charts of loss and metrics, train and valid together."""
  names = [
    name
    for name, by_split in run.curves.items()
    if name not in OPTIMIZATION and by_split.keys() & {*SPLITS}
  ]
  names.sort(key=lambda name: name != "loss")
  return _charts(run, "Curves", names[:MOST])


def optimization(run: Run) -> Markup | None:
  """Returns the charts of learning rate, gradient norm and throughput."""
  names = [name for name in OPTIMIZATION if name in run.curves]
  return _charts(run, "Optimization", names, "charts small")


def _charts(
  run: Run, title: str, names: list[str], style: str = "charts"
) -> Markup | None:
  if not names:
    return None
  charts = [_chart(run, name) for name in names]
  return markup.section(title, markup.tag("div", *charts, class_=style))


def _chart(run: Run, metric: str) -> Markup:
  curves = run.curves[metric]
  splits = sorted(curves, key=lambda s: (*SPLITS, s).index(s))[:MOST_LINES]
  lines = [
    plots.Line(split, *curves[split], split if split in SPLITS else "other")
    for split in splits
  ]
  y = axis(metric, np.concatenate([line.y for line in lines]))
  best = number(run.summary.get("best_step")) if "valid" in curves else None
  return plots.line_chart(markup.words(metric), lines, y, mark=best)


def axis(metric: str, values: np.ndarray) -> plots.Axis:
  """Returns the scale on which `values` of a metric are read best."""
  share = markup.is_share(metric) and bool((np.abs(values) <= 1).all())
  decades = values.min() > SMALLEST and values.max() > 30 * values.min()
  if decades and not share and metric not in LINEAR:
    return plots.log_axis(values)
  return plots.linear_axis(values, percent=share)

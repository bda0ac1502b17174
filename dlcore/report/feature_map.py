"""A chart of points by class, each with its name as the tooltip."""

from collections.abc import Sequence

import numpy as np

from dlcore.report import axes, plots
from dlcore.report.markup import Markup, tag
from dlcore.representation import Projection

COLORS = 12
"""Number of classes with a color of their own."""

MAX_POINTS = 2500
MAX_TITLE = 120


def feature_map(
  projection: Projection,
  names: Sequence[str],
  labels: np.ndarray,
  classes: Sequence[str],
) -> Markup:
  """Draws the first two principal components.

  Args:
    projection: the points `[N, 2]`; at most `MAX_POINTS` evenly spaced ones are
      shown.
    names: of the N examples.
    labels: int `[N]`, -1 without a label.
    classes: their names.
  """
  points = projection.points.astype(np.float64)
  x, y = (axes.linear_axis(points[:, axis]) for axis in (0, 1))
  counts = np.bincount(labels[labels >= 0], minlength=len(classes))
  colored = np.sort(np.argsort(-counts, kind="stable")[:COLORS])
  styles = {int(c): f"group{i}" for i, c in enumerate(colored)}
  spaced = np.linspace(0, len(points) - 1, min(len(points), MAX_POINTS))
  rows = spaced.astype(int)
  columns = np.rint(x.position(points[rows, 0]) * plots.SIZE).astype(int)
  lines = np.rint((1 - y.position(points[rows, 1])) * plots.SIZE).astype(int)
  marks = []
  for row, column, line in zip(rows, columns, lines, strict=True):
    label = int(labels[row])
    style = styles.get(label, "other") if classes else "group0"
    title = names[row][:MAX_TITLE]
    title = f"{title}\n{classes[label]}" if label >= 0 else title
    # Only an empty line with round caps remains a dot when it is stretched.
    path = {"d": f"M{column} {line}h0", "class": f"dots {style}"}
    marks.append(tag("path", tag("title", title), **path))
  keys = [(classes[int(c)], styles[int(c)]) for c in colored]
  if (classes and (labels < 0).any()) or len(classes) > COLORS:
    keys.append(("others", "other"))
  first, second = projection.shares
  label = f"first component, {first:.1%} of the variance"
  above = f"second component, {second:.1%} of the variance"
  chart = plots.frame(above, x, y, marks, label, keys if len(keys) > 1 else [])
  return tag("div", chart, class_="map")

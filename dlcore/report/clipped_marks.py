"""Axes that outliers do not stretch, and marks that are clipped to them."""

import numpy as np

from dlcore.report import curves, plots
from dlcore.report.axes import Axis
from dlcore.report.curve_reader import Curve
from dlcore.report.markup import Markup, tag
from dlcore.report.plots import Band

SHARE = 0.8
"""Share of the values, from the best one, that an axis always shows."""

STRETCH = 3.0
"""Length of all values in units of that of the share, above which the axis
does not contain the worst ones."""

MARGIN = 1.5
"""Length of such an axis in the same units."""


def robust_axis(metric: str, values: np.ndarray, maximize: bool) -> Axis:
  """Returns an axis from the best value to about the 80th percentile.

  It contains all values unless the worst ones would stretch it, such as the
  loss of a run that diverged.

  Args:
    metric: name of the metric, which decides the scale.
    values: finite values `[N]`, at least one.
    maximize: whether more is better.
  """
  best = values.max() if maximize else values.min()
  distances = np.sort(np.abs(values - best))
  length = distances[int(SHARE * (len(values) - 1))]
  if 0 < STRETCH * length < distances[-1]:
    values = values[np.abs(values - best) <= MARGIN * length]
  return curves.axis(metric, values)


def clip(axis: Axis, values: np.ndarray) -> np.ndarray:
  """Returns the values with those outside the axis replaced by its ends."""
  return np.clip(values, axis.low, axis.high)


def clipped_note(
  axis: Axis, values: np.ndarray, noun: str, name: str = "vertical axis"
) -> str:
  """Returns a sentence about the values outside the axis, or `""`."""
  # The ends of an axis are multiples of a step and have rounding errors.
  margin = 1e-9 * max(abs(axis.low), abs(axis.high))
  outside = (values < axis.low - margin) | (values > axis.high + margin)
  count = int(outside.sum())
  if not count:
    return ""
  verb = f"{noun} is" if count == 1 else f"{noun}s are"
  return f" {count:,} {verb} outside the {name} and shown at its border."


def curve(
  x: Axis, y: Axis, points: Curve, style: str, title: str | None = None
) -> Markup:
  """Returns a line through points, or a dot for a single point.

  Args:
    x: horizontal axis.
    y: vertical axis.
    points: in units of the axes.
    style: CSS classes.
    title: the tooltip.
  """
  units = _units(x, y, *points)
  if len(units) == 1:
    return _path(f"M{units[0]}h0", f"dots {style}", title)
  return _path("M" + "L".join(units), f"line {style}", title)


def dot(
  x: Axis, y: Axis, at: tuple[float, float], style: str, title: str
) -> Markup:
  """Returns a dot with a tooltip."""
  [unit] = _units(x, y, *np.array(at, float).reshape(2, 1))
  # Only an empty line with round caps remains a dot when it is stretched.
  return _path(f"M{unit}h0", style, title)


def dots(
  x: Axis, y: Axis, across: np.ndarray, up: np.ndarray, style: str
) -> Markup:
  """Returns dots at `[T]` and `[T]` without tooltips, as one path."""
  units = _units(x, y, across, up)
  return _path("".join(f"M{unit}h0" for unit in units), style)


def band(x: Axis, y: Axis, content: Band) -> Markup:
  """Returns the area between two curves."""
  below = _units(x, y, content.x, content.low)
  above = _units(x, y, content.x, content.high)
  area = "M" + "L".join([*below, *reversed(above)]) + "Z"
  return _path(area, f"band {content.style}")


def _units(x: Axis, y: Axis, across: np.ndarray, up: np.ndarray) -> list[str]:
  """Returns `"x y"` in units of the drawing, clipped to the axes."""
  left = np.clip(x.position(across), 0, 1)
  top = 1 - y.position(clip(y, up))
  pairs = np.rint(np.stack([left, top], -1) * plots.SIZE).astype(int)
  return [f"{a} {b}" for a, b in pairs.tolist()]


def _path(commands: str, style: str, title: str | None = None) -> Markup:
  inside = [tag("title", title)] if title else []
  return tag("path", *inside, d=commands, class_=style)

"""Charts of lines, points and bars as inline SVG, styled by the page's CSS.

The drawing is stretched to the width of the page, but not its strokes and
text: ticks and labels are HTML, positioned in percent of the drawing.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dlcore.report import markup
from dlcore.report.axes import Axis, linear_axis
from dlcore.report.markup import Markup, tag

SIZE = 2000
"""Units of a drawing's width and height."""

STRIPS = 60
"""Maximum number of strips over a chart with a tooltip."""

COLORS = 8
"""Number of CSS classes `group0`, `group1`, ..."""


class Line(NamedTuple):
  """A curve of finite values `[T]` over increasing `x`."""

  name: str
  x: np.ndarray
  y: np.ndarray
  style: str
  """CSS class."""


class Band(NamedTuple):
  """The area between two curves `[T]` over the same increasing `x`."""

  x: np.ndarray
  low: np.ndarray
  high: np.ndarray
  style: str
  """CSS class."""


def line_chart(
  title: str,
  lines: Sequence[Line],
  y: Axis,
  *,
  x: Axis | None = None,
  x_label: str = "step",
  mark: float | None = None,
  mark_name: str = "best at",
  rules: Sequence[float] = (),
  diagonal: bool = False,
  bands: Sequence[Band] = (),
  legend: bool = True,
) -> Markup:
  """Draws several curves in one chart.

  Args:
    title: shown above the chart.
    lines: the curves; a curve of few points gets dots.
    y: vertical axis.
    x: horizontal axis, by default from the first point to the last.
    x_label: shown below the horizontal axis.
    mark: position of a vertical line.
    mark_name: its label in the legend, before the position.
    rules: positions of further vertical lines.
    diagonal: whether to draw the line from corner to corner.
    bands: areas behind the curves.
    legend: whether to show a legend if it has several entries.
  """
  x = x or linear_axis(np.concatenate([line.x for line in lines]), tight=True)
  marks = [_path(f"M0 {SIZE}L{SIZE} 0", "rule")] if diagonal else []
  marks += [vertical(x, rule) for rule in rules if x.low <= rule <= x.high]
  keys = [(line.name, line.style) for line in lines]
  if mark is not None and x.low <= mark <= x.high:
    marks.append(vertical(x, mark))
    keys.append((f"{mark_name} {markup.format_number(mark)}", "rule"))
  for band in bands:
    positions = x.position(band.x)
    below = _points(positions, y.position(band.low))
    above = _points(positions, y.position(band.high))
    area = "M" + "L".join([*below, *reversed(above)]) + "Z"
    marks.append(_path(area, f"band {band.style}"))
  for line in lines:
    points = _points(x.position(line.x), y.position(line.y))
    if len(points) > 1:
      marks.append(_path("M" + "L".join(points), f"line {line.style}"))
    if len(points) <= 40:
      marks.append(_path(_dots(points), f"dot {line.style}"))
  marks.append(_strips(lines, x, y))
  entries = keys if legend and len(keys) > 1 else []
  return frame(title, x, y, marks, x_label, entries)


def scatter_chart(
  title: str, x: Axis, y: Axis, dots: Line, x_label: str
) -> Markup:
  """Draws points and the diagonal on which `x` equals `y`."""
  ends = np.array([max(x.low, y.low), min(x.high, y.high)])
  diagonal = "M" + "L".join(_points(x.position(ends), y.position(ends)))
  points = _dots(_points(x.position(dots.x), y.position(dots.y)))
  marks = [_path(points, f"dots {dots.style}"), _path(diagonal, "rule")]
  return frame(title, x, y, marks, x_label, [])


def histogram(title: str, values: np.ndarray, x_label: str) -> Markup:
  """Draws the number of `values` in bins of equal width."""
  x = linear_axis(values)
  bins = min(40, max(8, math.isqrt(len(values))))
  counts, edges = np.histogram(values, bins=bins, range=(x.low, x.high))
  y = linear_axis(np.append(counts, 0))
  lefts = np.rint(x.position(edges) * SIZE).astype(int)
  tops = np.rint((1 - y.position(counts)) * SIZE).astype(int)
  bars = [
    tag(
      "rect",
      tag(
        "title",
        f"{markup.format_number(a)} to {markup.format_number(b)}: {count}",
      ),
      **{"x": left, "y": top, "class": "column"},
      width=right - left,
      height=SIZE - top,
    )
    for left, right, top, count, a, b in zip(
      lefts, lefts[1:], tops, counts, edges, edges[1:], strict=False
    )
  ]
  return frame(title, x, y, bars, x_label, [])


def horizontal(
  x: Axis, y: Axis, ends: np.ndarray, height: float, style: str
) -> Markup:
  """Returns a horizontal line between two ends `[2]`."""
  points = _points(x.position(ends), y.position(np.full(2, height)))
  return _path("M" + "L".join(points), style)


def vertical(x: Axis, value: float) -> Markup:
  """Returns a dashed vertical line over the whole height."""
  return _path(f"M{round(float(x.position(value)) * SIZE)} 0V{SIZE}", "rule")


def dots(
  x: Axis, y: Axis, values: np.ndarray, height: float, style: str
) -> Markup:
  """Returns a dot per value, all at one height."""
  heights = y.position(np.full(len(values), height))
  return _path(_dots(_points(x.position(values), heights)), style)


def group_style(index: int) -> str:
  """Returns the CSS classes of a group: its color, dashed after the eighth."""
  dashed = " dashed" if index >= COLORS else ""
  return f"group{index % COLORS}{dashed}"


def frame(
  title: str,
  x: Axis,
  y: Axis,
  marks: Sequence[Markup],
  x_label: str,
  legend: Sequence[tuple[str, str]],
) -> Markup:
  """Returns a chart: the `marks` with axes, grid, title and legend."""
  names = [tag("span", tag("i", class_=s), n, class_="key") for n, s in legend]
  heights = [1 - float(y.position(tick)) for tick in y.ticks]
  grid = "".join(f"M0 {round(at * SIZE)}H{SIZE}" for at in heights)
  drawing = tag(
    "svg",
    _path(grid, "grid"),
    *marks,
    viewBox=f"0 0 {SIZE} {SIZE}",
    preserveAspectRatio="none",
    role="img",
    aria_label=title or x_label,
  )
  labels = [
    tag("span", y.format(tick), class_="y", style=f"top:{100 * at:.2f}%")
    for tick, at in zip(y.ticks, heights, strict=True)
  ] + [
    tag(
      "span", x.format(t), class_="x", style=f"left:{100 * x.position(t):.2f}%"
    )
    for t in x.ticks
  ]
  return tag(
    "figure",
    tag("figcaption", tag("b", title), *names) if title else "",
    tag("div", drawing, *labels, class_="plot"),
    tag("p", x_label),
    class_="chart",
  )


def _strips(lines: Sequence[Line], x: Axis, y: Axis) -> Markup:
  """Returns invisible strips whose tooltips show the values at their step."""
  longest = max(lines, key=lambda line: len(line.x)).x
  picks = np.unique(np.linspace(0, len(longest) - 1, STRIPS).astype(int))
  centers = x.position(longest[picks])
  edges = np.concatenate([[0], (centers[1:] + centers[:-1]) / 2, [1]])
  edges = np.rint(edges * SIZE).astype(int)
  strips = []
  for value, left, right in zip(longest[picks], edges, edges[1:], strict=False):
    nearest = [(line, int(np.abs(line.x - value).argmin())) for line in lines]
    text = "\n".join(
      f"{line.name} {markup.format_number(float(line.y[i]))}"
      f" at {markup.format_number(float(line.x[i]))}"
      for line, i in nearest
    )
    size = {"width": max(0, right - left), "height": SIZE}
    strips.append(
      tag("rect", tag("title", text), class_="strip", x=left, y=0, **size)
    )
  return markup.join(*strips)


def _points(x: np.ndarray, y: np.ndarray) -> list[str]:
  """Returns `"x y"` in units of the drawing for positions of 0 to 1."""
  units = np.rint(np.stack([x, 1 - y], -1) * SIZE).astype(int)
  return [f"{a} {b}" for a, b in units.tolist()]


def _dots(points: Sequence[str]) -> str:
  # Only an empty line with round caps remains a dot when it is stretched.
  return "".join(f"M{point}h0" for point in points)


def _path(commands: str, style: str) -> Markup:
  return tag("path", d=commands, class_=style)

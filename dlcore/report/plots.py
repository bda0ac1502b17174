"""Charts of lines, points and bars as inline SVG, styled by the page's CSS.

The drawing is stretched to the width of the page, but not its strokes and
text: ticks and labels are HTML, positioned in percent of the drawing.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from dlcore.report import markup
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


@dataclasses.dataclass(frozen=True)
class Axis:
  """A linear or logarithmic scale."""

  low: float
  high: float
  ticks: tuple[float, ...]
  format: Callable[[float], str]
  """Returns the label of a tick."""

  logarithmic: bool = False

  def place(self, values: np.ndarray | float) -> np.ndarray:
    """Returns the positions of `values`, 0 at `low` and 1 at `high`."""
    low, high, values = self.low, self.high, np.asarray(values, float)
    if self.logarithmic:
      low, high, values = math.log(low), math.log(high), np.log(values)
    return (values - low) / (high - low)


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
  """Returns the multiples of 1, 2 or 5 x 10^k within `low` to `high`.

  If `low < high`, there are 2 to `2 * count` of them.
  """
  raw = (high - low) / count
  scale = 10.0 ** math.floor(math.log10(raw))
  step = scale * next(m for m in (1, 2, 5, 10) if m * scale >= raw * 0.999)
  first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
  # Rounding to 12 digits gives 0.3 instead of 0.30000000000000004.
  return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def linear_axis(
  values: np.ndarray, *, tight: bool = False, percent: bool = False
) -> Axis:
  """Returns an axis for `values`, extended to ticks unless `tight`."""
  low, high = float(np.min(values)), float(np.max(values))
  if high - low <= 1e-9 * max(abs(low), abs(high), 1e-20):
    margin = abs(low) / 2 if abs(low) > 1e-20 else 1.0
    low, high = low - margin, high + margin
  ticks = nice_ticks(low, high)
  step = ticks[1] - ticks[0]
  if not tight:
    low = step * math.floor(low / step + 1e-6)
    high = step * math.ceil(high / step - 1e-6)
    ticks = nice_ticks(low, high)
  unit = 100.0 if percent else 1.0
  return Axis(low, high, tuple(ticks), tick_formatter(step * unit, percent))


def log_axis(values: np.ndarray) -> Axis:
  """Returns a logarithmic axis for positive `values`, extended to ticks.

  Ticks are 1, 2 and 5 x 10^k over up to three decades, else powers of ten.
  """
  low, high = float(np.min(values)), float(np.max(values))
  first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
  last = max(last, first + 1)
  stride = math.ceil((last - first) / 6)
  steps = (1, 2, 5) if last - first <= 3 else (1,)
  ticks = [
    float(f"{step}e{power}")
    for power in range(first, last + stride, stride)
    for step in steps
  ]
  below = max(index for index, tick in enumerate(ticks) if tick <= low)
  above = min(index for index, tick in enumerate(ticks) if tick >= high)
  ticks = ticks[below : max(above, below + 1) + 1]
  return Axis(ticks[0], ticks[-1], tuple(ticks), _format_power, True)


def tick_formatter(
  step: float, percent: bool = False
) -> Callable[[float], str]:
  """Returns a function that formats ticks `step` apart in few digits.

  It writes thousands and millions as `20k` and `3M`, percentages as `95%`.
  """
  digits = max(0, -math.floor(math.log10(step) + 1e-9))

  def format_tick(value: float) -> str:
    if percent:
      return f"{100 * value:.{digits}f}%"
    if value == 0:
      return "0"
    if digits > 4 or abs(value) >= 1e9:
      return f"{value:.3g}".replace("e+0", "e").replace("e-0", "e-")
    for unit, sign in ((1e6, "M"), (1e3, "k")):
      if step >= unit:
        return markup.with_minus(f"{value / unit:,.0f}{sign}")
    return markup.with_minus(f"{value:,.{digits}f}")

  return format_tick


def _format_power(value: float) -> str:
  if 1e-4 < value < 1e5:
    return f"{value:,g}"
  return markup.with_minus(
    f"{value:.0e}".replace("e+0", "e").replace("e-0", "e-")
  )


def line_chart(
  title: str,
  lines: Sequence[Line],
  y: Axis,
  *,
  x: Axis | None = None,
  x_label: str = "step",
  mark: float | None = None,
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
    mark: position of a vertical line, labeled "best" in the legend.
    diagonal: whether to draw the line from corner to corner.
    bands: areas behind the curves.
    legend: whether to show a legend if it has several entries.
  """
  x = x or linear_axis(np.concatenate([line.x for line in lines]), tight=True)
  marks = [_path(f"M0 {SIZE}L{SIZE} 0", "rule")] if diagonal else []
  keys = [(line.name, line.style) for line in lines]
  if mark is not None and x.low <= mark <= x.high:
    marks.append(vertical(x, mark))
    keys.append((f"best at {markup.format_number(mark)}", "rule"))
  for band in bands:
    positions = x.place(band.x)
    below = _points(positions, y.place(band.low))
    above = _points(positions, y.place(band.high))
    area = "M" + "L".join([*below, *reversed(above)]) + "Z"
    marks.append(_path(area, f"band {band.style}"))
  for line in lines:
    points = _points(x.place(line.x), y.place(line.y))
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
  diagonal = "M" + "L".join(_points(x.place(ends), y.place(ends)))
  points = _dots(_points(x.place(dots.x), y.place(dots.y)))
  marks = [_path(points, f"dots {dots.style}"), _path(diagonal, "rule")]
  return frame(title, x, y, marks, x_label, [])


def histogram(title: str, values: np.ndarray, x_label: str) -> Markup:
  """Draws the number of `values` in bins of equal width."""
  x = linear_axis(values)
  bins = min(40, max(8, math.isqrt(len(values))))
  counts, edges = np.histogram(values, bins=bins, range=(x.low, x.high))
  y = linear_axis(np.append(counts, 0))
  lefts = np.rint(x.place(edges) * SIZE).astype(int)
  tops = np.rint((1 - y.place(counts)) * SIZE).astype(int)
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
  points = _points(x.place(ends), y.place(np.full(2, height)))
  return _path("M" + "L".join(points), style)


def vertical(x: Axis, value: float) -> Markup:
  """Returns a dashed vertical line over the whole height."""
  return _path(f"M{round(float(x.place(value)) * SIZE)} 0V{SIZE}", "rule")


def dots(
  x: Axis, y: Axis, values: np.ndarray, height: float, style: str
) -> Markup:
  """Returns a dot per value, all at one height."""
  heights = y.place(np.full(len(values), height))
  return _path(_dots(_points(x.place(values), heights)), style)


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
  heights = [1 - float(y.place(tick)) for tick in y.ticks]
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
    tag("span", x.format(t), class_="x", style=f"left:{100 * x.place(t):.2f}%")
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
  centers = x.place(longest[picks])
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

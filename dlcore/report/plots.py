"""Charts of lines, points and bars as inline SVG that the page's CSS colours.

The drawing is stretched to the width of the page, strokes and text are not:
ticks and labels are HTML, placed by shares of the drawing's size.
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
"""The most places over a chart that show the values below the pointer."""


class Line(NamedTuple):
  """A curve of finite values `[T]` over increasing `x`."""

  name: str
  x: np.ndarray
  y: np.ndarray
  style: str
  """CSS class."""


class Band(NamedTuple):
  """What lies between two curves `[T]` over the same increasing `x`."""

  x: np.ndarray
  low: np.ndarray
  high: np.ndarray
  style: str
  """CSS class."""


@dataclasses.dataclass(frozen=True)
class Axis:
  """A scale from data to a share of the drawing."""

  low: float
  high: float
  ticks: tuple[float, ...]
  show: Callable[[float], str]
  logarithmic: bool = False

  def place(self, values: np.ndarray | float) -> np.ndarray:
    """Returns where `values` lie, 0 at `low` and 1 at `high`."""
    low, high, values = self.low, self.high, np.asarray(values, float)
    if self.logarithmic:
      low, high, values = math.log(low), math.log(high), np.log(values)
    return (values - low) / (high - low)


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
  """Returns the multiples of 1, 2 or 5 x 10^k within `low` to `high`.

  There are 2 to `2 count` of them where the range is one (`low < high`).
  """
  raw = (high - low) / count
  scale = 10.0 ** math.floor(math.log10(raw))
  step = scale * next(m for m in (1, 2, 5, 10) if m * scale >= raw * 0.999)
  first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
  # Division by a power of ten gives 0.3, where multiplication by 0.1 does not.
  return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def linear_axis(
  values: np.ndarray, *, tight: bool = False, percent: bool = False
) -> Axis:
  """Makes an axis for `values`, out to the next ticks unless `tight`."""
  low, high = float(np.min(values)), float(np.max(values))
  if high - low <= 1e-9 * max(abs(low), abs(high), 1e-20):
    room = abs(low) / 2 if abs(low) > 1e-20 else 1.0
    low, high = low - room, high + room
  ticks = nice_ticks(low, high)
  step = ticks[1] - ticks[0]
  if not tight:
    low = step * math.floor(low / step + 1e-6)
    high = step * math.ceil(high / step - 1e-6)
    ticks = nice_ticks(low, high)
  unit = 100.0 if percent else 1.0
  return Axis(low, high, tuple(ticks), tick_text(step * unit, percent))


def log_axis(values: np.ndarray) -> Axis:
  """Makes a logarithmic axis for positive `values`, out to the next ticks.

  Ticks are 1, 2 and 5 x 10^k over a few decades, powers of ten over many.
  """
  low, high = float(np.min(values)), float(np.max(values))
  first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
  last = max(last, first + 1)
  every = math.ceil((last - first) / 6)
  steps = (1, 2, 5) if last - first <= 3 else (1,)
  ticks = [
    float(f"{step}e{power}")
    for power in range(first, last + every, every)
    for step in steps
  ]
  below = max(index for index, tick in enumerate(ticks) if tick <= low)
  above = min(index for index, tick in enumerate(ticks) if tick >= high)
  ticks = ticks[below : max(above, below + 1) + 1]
  return Axis(ticks[0], ticks[-1], tuple(ticks), _power_text, True)


def tick_text(step: float, percent: bool = False) -> Callable[[float], str]:
  """Returns the function that writes ticks `step` apart, no longer than that.

  Thousands and millions are written `20k` and `3M`, percentages `95%`.
  """
  digits = max(0, -math.floor(math.log10(step) + 1e-9))

  def show(value: float) -> str:
    if percent:
      return f"{100 * value:.{digits}f}%"
    if value == 0:
      return "0"
    if digits > 4 or abs(value) >= 1e9:
      return f"{value:.3g}".replace("e+0", "e").replace("e-0", "e-")
    for unit, sign in ((1e6, "M"), (1e3, "k")):
      if step >= unit:
        return markup.minus(f"{value / unit:,.0f}{sign}")
    return markup.minus(f"{value:,.{digits}f}")

  return show


def _power_text(value: float) -> str:
  if 1e-4 < value < 1e5:
    return f"{value:,g}"
  return markup.minus(f"{value:.0e}".replace("e+0", "e").replace("e-0", "e-"))


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
  """Draws curves over one another.

  Args:
    title: stands above the chart.
    lines: the curves; one of a few points gets dots.
    y: the scale of the values.
    x: the scale below; by default from the first point to the last.
    x_label: what it shows.
    mark: an `x` to be marked by a vertical line, with a name in the legend.
    diagonal: also draws the line from corner to corner.
    bands: areas behind the curves.
    legend: whether to name the curves, where there are several things.
  """
  x = x or linear_axis(np.concatenate([line.x for line in lines]), tight=True)
  marks = [_path(f"M0 {SIZE}L{SIZE} 0", "rule")] if diagonal else []
  keys = [(line.name, line.style) for line in lines]
  if mark is not None and x.low <= mark <= x.high:
    marks.append(upright(x, mark))
    keys.append((f"best at {markup.number(mark)}", "rule"))
  for band in bands:
    places = x.place(band.x)
    below = _points(places, y.place(band.low))
    above = _points(places, y.place(band.high))
    area = "M" + "L".join([*below, *reversed(above)]) + "Z"
    marks.append(_path(area, f"band {band.style}"))
  for line in lines:
    points = _points(x.place(line.x), y.place(line.y))
    if len(points) > 1:
      marks.append(_path("M" + "L".join(points), f"line {line.style}"))
    if len(points) <= 40:
      marks.append(_path(_dots(points), f"dot {line.style}"))
  marks.append(_strips(lines, x, y))
  shown = keys if legend and len(keys) > 1 else []
  return frame(title, x, y, marks, x_label, shown)


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
  """Draws how often `values` fall into bins of equal width."""
  x = linear_axis(values)
  bins = min(40, max(8, math.isqrt(len(values))))
  counts, edges = np.histogram(values, bins=bins, range=(x.low, x.high))
  y = linear_axis(np.append(counts, 0))
  lefts = np.rint(x.place(edges) * SIZE).astype(int)
  tops = np.rint((1 - y.place(counts)) * SIZE).astype(int)
  bars = [
    tag(
      "rect",
      tag("title", f"{markup.number(a)} to {markup.number(b)}: {count}"),
      **{"x": left, "y": top, "class": "column"},
      width=right - left,
      height=SIZE - top,
    )
    for left, right, top, count, a, b in zip(
      lefts, lefts[1:], tops, counts, edges, edges[1:], strict=False
    )
  ]
  return frame(title, x, y, bars, x_label, [])


def level(x: Axis, y: Axis, ends: np.ndarray, at: float, style: str) -> Markup:
  """Returns a level line between two ends `[2]`."""
  points = _points(x.place(ends), y.place(np.full(2, at)))
  return _path("M" + "L".join(points), style)


def upright(x: Axis, at: float) -> Markup:
  """Returns a dashed line over the whole height."""
  return _path(f"M{round(float(x.place(at)) * SIZE)} 0V{SIZE}", "rule")


def dots(x: Axis, y: Axis, values: np.ndarray, at: float, style: str) -> Markup:
  """Returns dots on a level."""
  level = y.place(np.full(len(values), at))
  return _path(_dots(_points(x.place(values), level)), style)


def frame(
  title: str,
  x: Axis,
  y: Axis,
  marks: Sequence[Markup],
  x_label: str,
  legend: Sequence[tuple[str, str]],
) -> Markup:
  """Returns a chart: axes, grid and title, if any, around the `marks`."""
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
    tag("span", y.show(tick), class_="y", style=f"top:{100 * at:.2f}%")
    for tick, at in zip(y.ticks, heights, strict=True)
  ] + [
    tag("span", x.show(t), class_="x", style=f"left:{100 * x.place(t):.2f}%")
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
  """Returns invisible bars whose tooltips tell the values at their step."""
  longest = max(lines, key=lambda line: len(line.x)).x
  picks = np.unique(np.linspace(0, len(longest) - 1, STRIPS).astype(int))
  places = x.place(longest[picks])
  edges = np.concatenate([[0], (places[1:] + places[:-1]) / 2, [1]])
  edges = np.rint(edges * SIZE).astype(int)
  strips = []
  for value, left, right in zip(longest[picks], edges, edges[1:], strict=False):
    near = [(line, int(np.abs(line.x - value).argmin())) for line in lines]
    text = "\n".join(
      f"{line.name} {markup.number(float(line.y[i]))}"
      f" at {markup.number(float(line.x[i]))}"
      for line, i in near
    )
    size = {"width": max(0, right - left), "height": SIZE}
    strips.append(
      tag("rect", tag("title", text), class_="strip", x=left, y=0, **size)
    )
  return markup.join(*strips)


def _points(x: np.ndarray, y: np.ndarray) -> list[str]:
  """Returns `"x y"` of shares, in units and with `y` upwards."""
  units = np.rint(np.stack([x, 1 - y], -1) * SIZE).astype(int)
  return [f"{a} {b}" for a, b in units.tolist()]


def _dots(points: Sequence[str]) -> str:
  # Only a line of no length with round caps stays a dot when stretched.
  return "".join(f"M{point}h0" for point in points)


def _path(drawn: str, style: str) -> Markup:
  return tag("path", d=drawn, class_=style)

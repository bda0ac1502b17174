"""Axes of charts: scales, round ticks and their labels."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from dlcore.report import markup


@dataclasses.dataclass(frozen=True)
class Axis:
  """A linear or logarithmic scale."""

  low: float
  high: float
  ticks: tuple[float, ...]
  format: Callable[[float], str]
  """Returns the label of a tick."""

  logarithmic: bool = False

  def position(self, values: np.ndarray | float) -> np.ndarray:
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

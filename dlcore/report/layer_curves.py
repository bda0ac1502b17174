"""Statistics of single layers during training: norms and update ratios."""

import re
from collections.abc import Mapping

import numpy as np

from dlcore.report import markup, plots
from dlcore.report.curve_reader import Curve
from dlcore.report.curves import axis
from dlcore.report.markup import Markup, tag
from dlcore.report.run import Run

SPLIT = "layers"
"""The split under which layer statistics are logged."""

STATISTICS = {
  "gradient_norm": "gradient norm",
  "update_ratio": "update / parameters",
  "activation_rms": "output, root mean square",
}
MAX_LINES = 2 * plots.COLORS
"""Number of lines in one chart."""


def layers(run: Run) -> Markup | None:
  """Returns a chart of each statistic, with a line per layer."""
  charts = []
  for statistic, title in STATISTICS.items():
    curves = {
      metric.removeprefix(f"{statistic}/"): by_split[SPLIT]
      for metric, by_split in run.curves.items()
      if metric.startswith(f"{statistic}/") and SPLIT in by_split
    }
    if curves:
      charts.append(_chart(title, curves))
  if not charts:
    return None
  return markup.section("Layers", tag("div", *charts, class_="charts"))


def _chart(title: str, curves: Mapping[str, Curve]) -> Markup:
  lines = [
    plots.Line(path, *curves[path], plots.group_style(index))
    for index, path in enumerate(_select(sorted(curves, key=_natural)))
  ]
  y = axis(title, np.concatenate([line.y for line in lines]))
  return plots.line_chart(title, lines, y)


def _select(paths: list[str]) -> list[str]:
  """Returns up to 16 paths; biases only if there is room for them."""
  plain = [path for path in paths if not path.endswith("bias")]
  if len(plain) > MAX_LINES:
    positions = np.linspace(0, len(plain) - 1, MAX_LINES).round().astype(int)
    return [plain[position] for position in positions]
  biases = [path for path in paths if path.endswith("bias")]
  selected = {*plain, *biases[: MAX_LINES - len(plain)]}
  return [path for path in paths if path in selected]


def _natural(path: str) -> list[tuple[int, str]]:
  """Returns a sort key that orders block_2 before block_10."""
  return [
    (len(part) if part.isdecimal() else 0, part)
    for part in re.split(r"(\d+)", path)
  ]

"""What the layers did while they were trained: norms and update ratios."""

import re
from collections.abc import Mapping

import numpy as np

from dlcore.report import markup, plots
from dlcore.report.comparison import COLOURS, group_style
from dlcore.report.curves import axis
from dlcore.report.markup import Markup, tag
from dlcore.report.run import Curve, Run

SPLIT = "layers"
"""The split under which `training.Probe` is logged."""

KINDS = {
  "gradient_norm": "gradient norm",
  "update_ratio": "update / parameters",
  "activation_rms": "output, root mean square",
}
MOST = 2 * COLOURS
"""Lines in one chart."""


def layers(run: Run) -> Markup | None:
  """Returns a chart of each kind of numbers, a line for a layer."""
  charts = []
  for kind, title in KINDS.items():
    found = {
      metric.removeprefix(f"{kind}/"): by_split[SPLIT]
      for metric, by_split in run.curves.items()
      if metric.startswith(f"{kind}/") and SPLIT in by_split
    }
    if found:
      charts.append(_chart(title, found))
  if not charts:
    return None
  return markup.section("Layers", tag("div", *charts, class_="charts"))


def chosen(paths: list[str]) -> list[str]:
  """Returns the paths to show, biases only where there is room for them."""
  plain = [path for path in paths if not path.endswith("bias")]
  if len(plain) > MOST:
    places = np.linspace(0, len(plain) - 1, MOST).round().astype(int)
    return [plain[place] for place in places]
  rest = [path for path in paths if path.endswith("bias")]
  kept = {*plain, *rest[: MOST - len(plain)]}
  return [path for path in paths if path in kept]


def _chart(title: str, found: Mapping[str, Curve]) -> Markup:
  lines = [
    plots.Line(path, *found[path], group_style(index))
    for index, path in enumerate(chosen(sorted(found, key=_natural)))
  ]
  y = axis(title, np.concatenate([line.y for line in lines]))
  return plots.line_chart(title, lines, y)


def _natural(path: str) -> list[tuple[int, str]]:
  """Returns what puts block_2 before block_10."""
  return [
    (len(part) if part.isdecimal() else 0, part)
    for part in re.split(r"(\d+)", path)
  ]

"""The page of a learning rate range test."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dlcore.report import markup, plots
from dlcore.report.axes import Axis, linear_axis, log_axis
from dlcore.report.markup import Markup
from dlcore.report.page import write_sections


def write_rate_curves(
  output: Path,
  title: str,
  rates: np.ndarray,
  curves: Mapping[str, np.ndarray],
  *,
  mark: float | None,
  table: tuple[Sequence[str], Sequence[Sequence[str]]],
) -> Path:
  """Writes a page with the loss over the learning rate.

  Args:
    output: the file to write.
    title: of the page.
    rates: `[T]`, positive and ascending.
    curves: losses `[T]` by name, NaN where they are left out.
    mark: the suggested rate, or None.
    table: titles and rows of the table below the chart.

  Returns:
    `output`.
  """
  lines = []
  for index, (name, losses) in enumerate(curves.items()):
    known = np.isfinite(losses)
    if known.any():
      style = plots.group_style(index)
      lines.append(plots.Line(name, rates[known], losses[known], style))
  chart = [_chart(lines, log_axis(rates), mark)] if lines else []
  section = markup.section("Learning rate", *chart, markup.table(*table))
  return write_sections(output, title, [section])


def _chart(lines: list[plots.Line], x: Axis, mark: float | None) -> Markup:
  y = linear_axis(np.concatenate([line.y for line in lines]))
  return plots.line_chart(
    "moving average of the training loss",
    lines,
    y,
    x=x,
    x_label="learning rate",
    mark=mark,
    mark_name="suggested:",
  )

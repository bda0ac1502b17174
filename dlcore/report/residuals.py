"""Errors of a regression: predicted against true values, residuals."""

import math

import numpy as np

from dlcore.report import axes, markup, plots
from dlcore.report.markup import Markup, tag
from dlcore.report.run import Run, target_offset

MAX_DOTS = 2000


def residuals(run: Run) -> Markup:
  """Returns the charts of predicted against true values and of residuals."""
  base, rest = _split_offset(run)
  target = run.arrays["target"].astype(float) + rest
  prediction = run.arrays["prediction"].astype(float) + rest
  stride = -(-len(target) // MAX_DOTS)
  axis = axes.linear_axis(np.concatenate([target, prediction]))
  note = _scores(target, prediction)
  label = "true"
  if base:
    label = markup.with_minus(f"true - {base}")
    note += f" The numbers on the axes are values minus {base}."
  dots = plots.Line(
    "predicted", target[::stride], prediction[::stride], "train"
  )
  residual_label = markup.with_minus("predicted - true")
  charts = [
    plots.scatter_chart("predicted against true", axis, axis, dots, label),
    plots.histogram("residuals", prediction - target, residual_label),
  ]
  return markup.section(
    f"Predictions, {run.split}",
    tag("p", note, class_="note"),
    tag("div", *charts, class_="charts"),
  )


def _split_offset(run: Run) -> tuple[str, float]:
  """Returns the offset of the target as a round number and a rest.

  An axis has no room for the digits of a value near a large offset, such as a
  time since 1970. The round number, as text, belongs in its label. It is empty
  without an offset.
  """
  offset, target = target_offset(run), run.arrays["target"]
  spread = float(target.max()) - float(target.min())
  power = math.ceil(math.log10(spread)) if spread else 0
  base = round(offset, -power)
  if base == 0:
    return "", offset
  return markup.with_minus(f"{base:,.{max(0, -power)}f}"), offset - base


def _scores(target: np.ndarray, prediction: np.ndarray) -> str:
  error = prediction - target
  rmse = markup.format_number(float(np.sqrt(np.mean(error**2))))
  mae = markup.format_number(float(np.mean(np.abs(error))))
  text = f"Root mean square error {rmse}, mean absolute error {mae}"
  if np.var(target) > 0:
    r2 = float(1 - np.mean(error**2) / np.var(target))
    text += f", R² {markup.format_number(r2)}"
  return f"{text}, over {len(target):,} examples."

"""Errors of a regression: predicted against true values, residuals."""

import numpy as np

from dlcore.report import axes, markup, plots
from dlcore.report.markup import Markup, tag
from dlcore.report.run import Run

MAX_DOTS = 2000


def residuals(run: Run) -> Markup:
  """Returns the charts of predicted against true values and of residuals."""
  target = run.arrays["target"].astype(float)
  prediction = run.arrays["prediction"].astype(float)
  stride = -(-len(target) // MAX_DOTS)
  axis = axes.linear_axis(np.concatenate([target, prediction]))
  dots = plots.Line(
    "predicted", target[::stride], prediction[::stride], "train"
  )
  residual_label = markup.with_minus("predicted - true")
  charts = [
    plots.scatter_chart("predicted against true", axis, axis, dots, "true"),
    plots.histogram("residuals", prediction - target, residual_label),
  ]
  return markup.section(
    f"Predictions, {run.split}",
    tag("p", _scores(target, prediction), class_="note"),
    tag("div", *charts, class_="charts"),
  )


def _scores(target: np.ndarray, prediction: np.ndarray) -> str:
  error = prediction - target
  rmse = markup.format_number(float(np.sqrt(np.mean(error**2))))
  mae = markup.format_number(float(np.mean(np.abs(error))))
  text = f"Root mean square error {rmse}, mean absolute error {mae}"
  if np.var(target) > 0:
    r2 = float(1 - np.mean(error**2) / np.var(target))
    text += f", R² {markup.format_number(r2)}"
  return f"{text}, over {len(target):,} examples."

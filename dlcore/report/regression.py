"""How a regression errs: predicted against true, and the residuals."""

import numpy as np

from dlcore.report import markup, plots
from dlcore.report.markup import Markup, tag
from dlcore.report.run import Run

MOST_DOTS = 2000


def regression(run: Run) -> Markup | None:
  """Returns the charts of predicted against true values and of residuals."""
  if "target" not in run.predictions:
    return None
  target = run.predictions["target"].astype(float)
  prediction = run.predictions["prediction"].astype(float)
  every = -(-len(target) // MOST_DOTS)
  both = plots.linear_axis(np.concatenate([target, prediction]))
  dots = plots.Line("predicted", target[::every], prediction[::every], "train")
  charts = [
    plots.scatter_chart("predicted against true", both, both, dots, "true"),
    plots.histogram(
      "residuals", prediction - target, markup.minus("predicted - true")
    ),
  ]
  title = f"Predictions, {run.predictions.get('split', 'test')}"
  return markup.section(
    title,
    tag("p", _scores(target, prediction), class_="note"),
    tag("div", *charts, class_="charts"),
  )


def _scores(target: np.ndarray, prediction: np.ndarray) -> str:
  error = prediction - target
  root = markup.number(float(np.sqrt(np.mean(error**2))))
  mean = markup.number(float(np.mean(np.abs(error))))
  text = f"Root mean square error {root}, mean absolute error {mean}"
  if np.var(target) > 0:
    determined = 1 - np.mean(error**2) / np.var(target)
    text += f", R² {markup.number(float(determined))}"
  return f"{text}, over {len(target):,} examples."

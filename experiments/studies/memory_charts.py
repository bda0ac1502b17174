"""The page of the study of long memory, from its JSON object alone."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlcore.report import axes, markup, plots
from dlcore.report.comparison import color_key
from dlcore.report.markup import Markup, tag
from dlcore.report.page import write_sections

NAMES = {
  "rnn": "RNN",
  "lstm": "LSTM",
  "gru": "GRU",
  "transformer": "transformer",
}
TITLES = {
  "adding": "adding problem: mean squared error",
  "copying": "delayed copying: share of wrong symbols",
}
STATES = {"initial": "at initialization", "trained": "after training"}
TRIVIAL = "other dashed"
"""CSS classes of the error of the trivial answer."""

FLOOR = 1e-16
"""Gradients below this are plotted at this value."""

LEAST_ERROR = 1e-5
"""Squared errors below this are plotted at this value."""


def write(output: Path, result: Mapping[str, Any]) -> Path:
  """Writes the page and returns its path.

  Args:
    output: the file to write.
    result: the JSON object of `long_memory.py`.
  """
  title = "Long memory"
  sections = [_head(title, result), _errors(result), _gradients(result)]
  return write_sections(output, title, [*sections, _numbers(result)])


def _head(title: str, result: Mapping[str, Any]) -> Markup:
  sizes = [n for row in result["parameters"].values() for n in row.values()]
  text = (
    f"Networks of {min(sizes):,} to {max(sizes):,} parameters after "
    f"{result['steps']:,} steps of Adam with batches of {result['batch_size']} "
    "new series. "
    f"{result['machine']}, {result['date']}."
  )
  return tag("header", tag("h1", title), tag("p", text, class_="note"))


def _errors(result: Mapping[str, Any]) -> Markup:
  charts = [_error_chart(result, problem) for problem in result["error"]]
  rates = " or ".join(map(markup.format_number, result["rates"]))
  note = (
    "Mean over the seeds, with a band from the minimum to the maximum. The "
    f"learning rate, {rates}, is that of the smaller error on validation data."
  )
  trivial = tag("i", class_=TRIVIAL), "best answer that ignores the series"
  return markup.section(
    "Test error by the length of the series",
    tag("p", note, class_="note"),
    _legend(result["error"]["adding"], tag("span", *trivial, class_="group")),
    tag("div", *charts, class_="charts"),
  )


def _legend(models: Iterable[str], *others: Markup) -> Markup:
  keys = [color_key(index, NAMES[model]) for index, model in enumerate(models)]
  return tag("p", *keys, *others, class_="legend")


def _error_chart(result: Mapping[str, Any], problem: str) -> Markup:
  lengths, trivial = np.asarray(result["lengths"]), result["trivial"][problem]
  floor = LEAST_ERROR if problem == "adding" else 0.0
  lines, bands = [], []
  for index, (model, by_length) in enumerate(result["error"][problem].items()):
    rows = [np.maximum(errors, floor) for errors in by_length]
    mean, low, high = (
      np.array([f(row) for row in rows]) for f in (np.mean, np.min, np.max)
    )
    style = plots.group_style(index)
    lines.append(plots.Line(NAMES[model], lengths, mean, style))
    bands.append(plots.Band(lengths, low, high, style))
  # Only lines of few points have dots.
  x = np.geomspace(lengths[0], lengths[-1], 50)
  lines.append(plots.Line("trivial", x, np.full(50, trivial), TRIVIAL))
  values = np.concatenate([line.y for line in lines])
  values = np.concatenate([values, *(edge for b in bands for edge in b[1:3])])
  return plots.line_chart(
    TITLES[problem],
    lines,
    _error_axis(problem, values),
    x=_lengths_axis(lengths),
    x_label="length of the series",
    bands=bands,
    legend=False,
  )


def _error_axis(problem: str, values: np.ndarray) -> axes.Axis:
  if problem == "adding":
    return axes.log_axis(values)
  return axes.linear_axis(np.append(values, (0, 1)), percent=True)


def _lengths_axis(lengths: np.ndarray) -> axes.Axis:
  """Returns a logarithmic axis with a tick at each length."""
  ticks = tuple(map(float, lengths))
  return axes.Axis(ticks[0], ticks[-1], ticks, lambda tick: f"{tick:g}", True)


def _gradients(result: Mapping[str, Any]) -> Markup:
  by_model = result["gradients"]
  values = [norms[state] for norms in by_model.values() for state in STATES]
  y = axes.log_axis(np.maximum(np.concatenate(values), FLOOR))
  charts = [
    _gradient_chart(title, {m: by_model[m][state] for m in by_model}, y)
    for state, title in STATES.items()
  ]
  note = (
    f"Adding problem of {result['gradient_length']} steps: norm of the "
    "gradient of the output with respect to the input of a step, its mean over "
    "test series. Learning from a step needs a gradient that reaches it. In an "
    "RNN it is multiplied by the same kernel at each step. Gates can learn to "
    "keep it, and attention has no steps in between."
  )
  return markup.section(
    "Gradient of the last output by distance",
    tag("p", note, class_="note"),
    _legend(by_model),
    tag("div", *charts, class_="charts"),
  )


def _gradient_chart(
  title: str, by_model: Mapping[str, Sequence[float]], y: axes.Axis
) -> Markup:
  lines = [
    plots.Line(
      NAMES[model],
      np.arange(len(norms)),
      np.maximum(norms, y.low),
      plots.group_style(index),
    )
    for index, (model, norms) in enumerate(by_model.items())
  ]
  return plots.line_chart(
    title, lines, y, x_label="steps before the last one", legend=False
  )


def _numbers(result: Mapping[str, Any]) -> Markup:
  """Returns the table of the errors and the chosen rates."""
  head = ["problem", "model", "parameters"]
  head += [f"{length} steps" for length in result["lengths"]]
  rows = []
  for problem, by_model in result["error"].items():
    for model, errors in by_model.items():
      rates = result["rate"][problem][model]
      cells = [
        f"{np.mean(row):.2g} ({rate:g})"
        for row, rate in zip(errors, rates, strict=True)
      ]
      size = f"{result['parameters'][problem][model]:,}"
      rows.append([problem, NAMES[model], size, *cells])
  note = "Mean test error, and in parentheses the learning rate."
  return markup.section(
    "Numbers", tag("p", note, class_="note"), markup.table(head, rows, 2)
  )

"""Charts of a search over trials and over steps."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dlcore.report import axes, clipped_marks, markup, plots, scores
from dlcore.report.axes import Axis
from dlcore.report.curve_reader import Curve
from dlcore.report.markup import Markup, tag
from dlcore.report.parameter_axes import integer_ticks
from dlcore.report.search_content import (
  BEST,
  COMPLETE,
  CONFIG,
  TRIAL,
  SearchResult,
  SearchTrial,
  best_name,
  best_trial,
  config_trial,
  describe,
  format_value,
  has_value,
  is_plottable,
  value_axis,
  value_of,
  values_of,
)

LEAST_SPREAD = 8
"""Spread trials from which random search is estimated."""

RESAMPLES = 1000
MAX_POINTS = 20_000
"""Points of all curves together, which limits the size of the page."""

THIN, BOLD = "other thin", f"{BEST} bold"
"""CSS classes of the curves of other trials and of the best one."""


class Layer(NamedTuple):
  """A part of a chart."""

  marks: Sequence[Markup] = ()
  keys: Sequence[tuple[str, str]] = ()
  """Names and CSS classes for the legend."""

  note: str = ""
  """Sentences, each after a space."""


def progress(result: SearchResult) -> Markup | None:
  """Returns the chart of the values and the best so far over the trials."""
  complete = [t for t in result.trials if t.state == COMPLETE and has_value(t)]
  if not complete:
    return None
  complete.sort(key=lambda trial: trial.number)
  x = _trial_axis(max(trial.number for trial in result.trials))
  y = value_axis(result)
  layers = [
    _random_search(result, x, y),
    _config_rule(result, x, y),
    _best_so_far(result, complete, x, y),
    _trial_dots(result, complete, x, y),
  ]
  marks = [mark for layer in layers for mark in layer.marks]
  keys = [key for layer in reversed(layers) for key in layer.keys]
  name = scores.title(result.metric)
  chart = plots.frame(name, x, y, marks, "trial", keys)
  return _section("Progress", chart, "".join(layer.note for layer in layers))


def _trial_axis(last: int) -> Axis:
  """Returns the axis of the numbers of trials, 0 to `last`."""
  low, high = -0.5, last + 0.5
  ticks = tuple(axes.nice_ticks(low, high))
  return integer_ticks(Axis(low, high, ticks, markup.format_number))


def _trial_dots(
  result: SearchResult, complete: Sequence[SearchTrial], x: Axis, y: Axis
) -> Layer:
  """Returns a dot for each complete trial."""
  marks = []
  for trial in complete:
    at = (trial.number, value_of(trial))
    title = describe(result, trial)
    marks.append(clipped_marks.dot(x, y, at, f"dots {TRIAL}", title))
  note = clipped_marks.clipped_note(y, values_of(complete), "trial")
  return Layer(marks, [("complete trial", TRIAL)], note)


def _best_so_far(
  result: SearchResult, complete: Sequence[SearchTrial], x: Axis, y: Axis
) -> Layer:
  """Returns the step line of the best value up to each trial."""
  if len(complete) < 2:
    return Layer()
  best = best_so_far(values_of(complete), result.maximize)
  numbers = np.array([trial.number for trial in complete])
  last = max(trial.number for trial in result.trials)
  corners = Curve(np.append(np.repeat(numbers, 2)[1:], last), best.repeat(2))
  line = clipped_marks.curve(x, y, corners, BEST)
  return Layer([line], [("best so far", BEST)])


def _config_rule(result: SearchResult, x: Axis, y: Axis) -> Layer:
  """Returns a horizontal line at the value of the config."""
  config = config_trial(result)
  if config is None or not has_value(config):
    return Layer()
  style = f"rule {CONFIG}"
  height = float(clipped_marks.clip(y, values_of([config]))[0])
  rule = plots.horizontal(x, y, np.array([x.low, x.high]), height, style)
  return Layer([rule], [(f"config, {format_value(result, config)}", style)])


def _random_search(result: SearchResult, x: Axis, y: Axis) -> Layer:
  """Returns the band of random search, nothing for too few spread trials."""
  known = [trial for trial in result.trials if has_value(trial)]
  spread = [t for t in known if t.is_spread and not t.is_config]
  if len(spread) < LEAST_SPREAD:
    return Layer()
  numbers = np.array(sorted(trial.number for trial in known))
  # A single outlier would dominate the mean of the first trials.
  values = clipped_marks.clip(y, values_of(spread))
  mean, low, high = random_search(values, len(known), result.maximize)
  band = clipped_marks.band(x, y, plots.Band(numbers, low, high, "other"))
  line = clipped_marks.curve(x, y, Curve(numbers, mean), "dashed other")
  name = f"random search, estimated from {len(spread)} spread trials"
  note = (
    f" Random search: mean and 95% interval of {RESAMPLES:,} bootstrap "
    "resamples of the trials that were proposed without a model."
  )
  if len(known) > len(spread):
    note += (
      f" After {len(spread)} trials the estimate is pessimistic, because no "
      "resample is better than the best of these trials."
    )
  return Layer([band, line], [(name, "dashed other")], note)


def random_search(
  values: np.ndarray, count: int, maximize: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Estimates the best value of random search after 1 to `count` trials.

  Args:
    values: `[N]`, of independent trials.
    count: number of trials, K.
    maximize: whether more is better.

  Returns:
    The mean and the 2.5th and 97.5th percentiles over bootstrap resamples,
    each `[K]`.
  """
  generator = np.random.default_rng(0)
  resamples = generator.choice(values, (RESAMPLES, count))  # [R, K]
  best = best_so_far(resamples, maximize)
  low, high = np.percentile(best, (2.5, 97.5), axis=0)
  return best.mean(0), low, high


def best_so_far(values: np.ndarray, maximize: bool) -> np.ndarray:
  """Returns the best of the values `[..., K]` up to each position."""
  extremum = np.maximum if maximize else np.minimum
  return extremum.accumulate(values, axis=-1)


def learning_curves(result: SearchResult) -> Markup | None:
  """Returns the chart of the evaluations of all trials."""
  shown = [(trial, _curve(trial)) for trial in result.trials]
  shown = [(trial, curve) for trial, curve in shown if len(curve.steps)]
  if not any(len(curve.steps) > 1 for _, curve in shown):
    return None
  values = np.concatenate([curve.values for _, curve in shown])
  steps = np.concatenate([curve.steps for _, curve in shown])
  x = axes.linear_axis(steps, tight=True)
  metric = scores.metric(result.metric)
  y = clipped_marks.robust_axis(metric, values, result.maximize)
  limit = max(8, MAX_POINTS // len(shown))
  marks: dict[str, list[Markup]] = {THIN: [], CONFIG: [], BOLD: []}
  best = best_trial(result)
  for trial, curve in shown:
    style = _curve_style(trial, is_best=trial is best)
    points, title = _sampled(curve, limit), describe(result, trial)
    marks[style].append(clipped_marks.curve(x, y, points, style, title))
  name = scores.title(result.metric)
  layers = [mark for of_style in marks.values() for mark in of_style]
  chart = plots.frame(name, x, y, layers, "step", _curve_keys(result, marks))
  note = clipped_marks.clipped_note(y, values, "evaluation")
  return _section("Learning curves", chart, note)


def _curve(trial: SearchTrial) -> Curve:
  """Returns the evaluations of a trial whose values are finite."""
  points = sorted((step, v) for step, v in trial.curve if is_plottable(v))
  return Curve(*np.array(points, float).reshape(-1, 2).T)


def _sampled(curve: Curve, limit: int) -> Curve:
  """Returns at most `limit` points of a curve, its ends included."""
  count = len(curve.steps)
  rows = np.linspace(0, count - 1, min(count, limit)).astype(int)
  return Curve(curve.steps[rows], curve.values[rows])


def _curve_style(trial: SearchTrial, *, is_best: bool) -> str:
  if is_best:
    return BOLD
  return CONFIG if trial.is_config else THIN


def _curve_keys(
  result: SearchResult, marks: dict[str, list[Markup]]
) -> list[tuple[str, str]]:
  """Returns the entries of the legend of the curves, the best one first."""
  names = {
    BOLD: best_name(result),
    CONFIG: "config",
    THIN: "other trials",
  }
  return [(name, style) for style, name in names.items() if marks[style]]


def _section(title: str, chart: Markup, note: str) -> Markup:
  charts = tag("div", chart, class_="charts search")
  below = [tag("p", note.strip(), class_="below")] if note else []
  return markup.section(title, charts, *below)

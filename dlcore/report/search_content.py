"""The content of the page about a hyperparameter search, and its labels."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlcore.report import scores
from dlcore.report.axes import Axis
from dlcore.report.clipped_marks import robust_axis
from dlcore.report.curve_reader import MAX_VALUE
from dlcore.report.markup import Markup, tag
from dlcore.report.metric_display import format_metric

COMPLETE, PRUNED, FAILED, RUNNING = "complete", "pruned", "failed", "running"
STATES = (COMPLETE, PRUNED, FAILED, RUNNING)

OF_CONFIG = "\N{NO-BREAK SPACE}(config)"
"""After the number of the trial of the config."""

TRIAL, BEST, CONFIG = "group0", "group1", "group2"
"""CSS classes of the complete trials, the best trial and the config."""


class SearchTrial(NamedTuple):
  """A trial of a search."""

  number: int
  state: str
  """One of `STATES`."""

  value: float | None
  """Of the metric, the last one of a pruned trial; None if it failed or is
  running."""

  values: Mapping[str, Any]
  """Parameters by config path: bool, int, float, str or tuple. Conditional ones
  may be missing."""

  curve: Sequence[tuple[int, float]]
  """Step and metric of each evaluation."""

  reason: str
  """The error of a failed trial."""

  is_config: bool
  """Whether its parameters are those of the config itself."""

  is_spread: bool
  """Whether it was proposed without a model: random, Sobol or grid."""


class SearchResult(NamedTuple):
  """A finished or running search."""

  metric: str
  """Such as `"valid/accuracy"`."""

  maximize: bool
  trials: Sequence[SearchTrial]
  scales: Mapping[str, str]
  """`"linear"`, `"log"` or `"choice"` by config path."""

  importance: Mapping[str, float]
  """Shares by config path that add up to 1, or empty."""

  conclusion: Sequence[str]
  """Sentences."""

  algorithm: str


def has_value(trial: SearchTrial) -> bool:
  """Returns whether a complete or pruned trial has a usable value."""
  return trial.state in (COMPLETE, PRUNED) and is_plottable(trial.value)


def is_plottable(value: float | None) -> bool:
  """Returns whether a value is finite and small enough for the arithmetic."""
  return value is not None and abs(value) < MAX_VALUE


def value_of(trial: SearchTrial) -> float:
  """Returns the value of a trial that has one."""
  if trial.value is None:
    raise ValueError(f"expected trial {trial.number} to have a value")
  return trial.value


def values_of(trials: Sequence[SearchTrial]) -> np.ndarray:
  """Returns the values `[N]` of trials that have one."""
  return np.array([value_of(trial) for trial in trials], float)


def ranked(result: SearchResult, state: str = COMPLETE) -> list[SearchTrial]:
  """Returns the trials of a state with a value, the best first."""
  known = [t for t in result.trials if t.state == state and has_value(t)]
  sign = -1 if result.maximize else 1
  return sorted(known, key=lambda t: (sign * value_of(t), t.number))


def best_trial(result: SearchResult) -> SearchTrial | None:
  """Returns the complete trial with the best value, or None."""
  return next(iter(ranked(result)), None)


def config_trial(result: SearchResult) -> SearchTrial | None:
  """Returns the trial with the parameters of the config, or None."""
  return next((trial for trial in result.trials if trial.is_config), None)


def paths(result: SearchResult) -> list[str]:
  """Returns the config paths that the search varies, in its order."""
  names = (path for trial in result.trials for path in trial.values)
  return [*dict.fromkeys([*result.scales, *names])]


def value_axis(result: SearchResult) -> Axis:
  """Returns the axis of the values that all charts of the page share."""
  trials = ranked(result) or ranked(result, PRUNED)
  metric = scores.metric(result.metric)
  return robust_axis(metric, values_of(trials), result.maximize)


def best_name(result: SearchResult) -> str:
  """Returns the name of the best trial in a legend."""
  best = best_trial(result)
  if best is None:
    return ""
  return f"best, trial {best.number}{OF_CONFIG if best.is_config else ''}"


def describe(result: SearchResult, trial: SearchTrial) -> str:
  """Returns the tooltip of a trial: its number, state and value."""
  text = f"trial {trial.number}"
  if trial.state != COMPLETE:
    text += f", {trial.state}"
  value = format_value(result, trial)
  return f"{text}: {value}" if value else text


def format_value(result: SearchResult, trial: SearchTrial) -> str:
  """Returns the value of a trial as text, empty without one."""
  if not has_value(trial):
    return ""
  return format_metric(scores.metric(result.metric), value_of(trial))


def legend(keys: Iterable[tuple[str, str]]) -> Markup:
  """Returns a line of names with their colors, from pairs of name and style."""
  entries = [
    tag("span", tag("i", class_=style), name, class_="group")
    for name, style in keys
  ]
  return tag("p", *entries, class_="legend")

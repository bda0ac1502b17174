"""The page about a hyperparameter search."""

from collections.abc import Mapping
from pathlib import Path

from dlcore.report import markup, scores
from dlcore.report.markup import Markup, tag
from dlcore.report.page import write_sections
from dlcore.report.parallel_coordinates import parallel_coordinates
from dlcore.report.parameter_axes import format_parameter
from dlcore.report.search_content import (
  FAILED,
  OF_CONFIG,
  PRUNED,
  RUNNING,
  STATES,
  SearchResult,
  SearchTrial,
  best_name,
  best_trial,
  config_trial,
  format_value,
  paths,
  ranked,
)
from dlcore.report.search_curves import learning_curves, progress
from dlcore.report.search_slices import slices

MAX_TRIALS = 20
"""Rows of the table of trials, and number of failed trials."""

MAX_REASON = 300
"""Characters of the error of a failed trial."""

MISSING = "\N{EN DASH}"
"""Of a trial without a parameter."""


def write_search(output: Path, title: str, result: SearchResult) -> Path:
  """Writes the page about a finished or running search.

  Args:
    output: the file to write.
    title: of the page.
    result: the trials.

  Returns:
    `output`.

  Raises:
    UserError: the file cannot be written.
  """
  sections = [
    _head(title, result),
    _results(result),
    progress(result),
    learning_curves(result),
    _importance(result.importance),
    slices(result),
    parallel_coordinates(result),
    _trials(result),
    _failures(result),
  ]
  return write_sections(output, title, [*filter(None, sections)])


def _head(title: str, result: SearchResult) -> Markup:
  """Returns the title, the best value and the conclusion."""
  subtitle = tag("p", "Hyperparameter search", class_="note")
  parts = [tag("h1", title), subtitle]
  if best := best_trial(result):
    name = f"best {scores.title(result.metric)}, trial {best.number}"
    number = format_value(result, best)
    parts.append(tag("p", tag("span", name), number, class_="headline"))
  else:
    state = "has begun" if not result.trials else "is complete"
    parts.append(tag("p", f"No trial {state} yet.", class_="warning"))
  parts += [tag("p", sentence) for sentence in result.conclusion]
  return tag("header", *parts)


def _results(result: SearchResult) -> Markup:
  """Returns the number of trials, and the parameters of the best one."""
  states = [trial.state for trial in result.trials]
  pairs: list[tuple[str, object]] = [("algorithm", result.algorithm)]
  pairs += [
    (state, f"{states.count(state):,}")
    for state in STATES
    if state in states or state != RUNNING
  ]
  config = config_trial(result)
  if config is not None:
    pairs.append(("config", format_value(result, config) or config.state))
  parts = [markup.facts(pairs, "tiles")]
  if best := best_trial(result):
    parts.append(_best_table(result, best, config))
  return markup.section("Result", *parts)


def _best_table(
  result: SearchResult, best: SearchTrial, config: SearchTrial | None
) -> Markup:
  """Returns the parameters of the best trial and those of the config."""
  columns = {best_name(result): best}
  if config is not None and config.number != best.number:
    columns["config"] = config
  rows = [
    [path, *(_parameter(trial, path) for trial in columns.values())]
    for path in paths(result)
  ]
  return markup.table(["parameter", *columns], rows)


def _importance(shares: Mapping[str, float]) -> Markup | None:
  """Returns a table of the parameters with bars, the most important first."""
  if not shares:
    return None
  largest = max(max(shares.values()), 1e-12)
  rows = [
    [
      path,
      f"{share:.0%}",
      tag(
        "div",
        tag("i", class_="share", style=f"width:{100 * share / largest:.1f}%"),
      ),
    ]
    for path, share in sorted(shares.items(), key=lambda pair: -pair[1])
  ]
  note = (
    "How much each parameter decides whether a trial is among the best, by "
    "PED-ANOVA (Watanabe et al. 2023, arXiv:2304.10255)."
  )
  table = markup.table(["parameter", "importance", ""], rows)
  return markup.section(
    "Importance",
    tag("p", note, class_="note"),
    tag("figure", table, class_="counts probes"),
  )


def _trials(result: SearchResult) -> Markup | None:
  """Returns a table of the best trials, complete ones before pruned ones."""
  trials = [*ranked(result), *ranked(result, PRUNED)]
  if not trials:
    return None
  names = paths(result)
  rows = [
    [
      f"{trial.number}{OF_CONFIG if trial.is_config else ''}",
      trial.state,
      format_value(result, trial),
      *(_parameter(trial, path) for path in names),
    ]
    for trial in trials[:MAX_TRIALS]
  ]
  head = ["trial", "state", scores.title(result.metric), *names]
  parts = [markup.table(head, rows, text_columns=2)]
  if len(trials) > MAX_TRIALS:
    note = f"The best {MAX_TRIALS} of {len(trials):,} trials with a value."
    parts.insert(0, tag("p", note, class_="note"))
  return markup.section("Trials", *parts)


def _failures(result: SearchResult) -> Markup | None:
  """Returns the errors of the failed trials."""
  failed = [trial for trial in result.trials if trial.state == FAILED]
  if not failed:
    return None
  items = [
    tag("li", f"trial {trial.number}: {trial.reason[:MAX_REASON] or MISSING}")
    for trial in failed[:MAX_TRIALS]
  ]
  if len(failed) > MAX_TRIALS:
    items.append(tag("li", f"and {len(failed) - MAX_TRIALS:,} more"))
  return markup.section("Failed trials", tag("ul", *items))


def _parameter(trial: SearchTrial, path: str) -> str:
  value = trial.values.get(path)
  return MISSING if value is None else format_parameter(value)

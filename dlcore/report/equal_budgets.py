"""The scores of several runs at the same step and at the same wall time."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dlcore.report import estimates, markup, wall_time
from dlcore.report.comparison import color_key
from dlcore.report.comparison_curves import plotted
from dlcore.report.curve_reader import Curve
from dlcore.report.curves import OPTIMIZATION, joined
from dlcore.report.groups import Comparison, Group
from dlcore.report.json_values import as_mapping
from dlcore.report.markup import Markup, tag
from dlcore.report.metric_display import display, rank
from dlcore.report.run import Run

SPLIT = "valid"
MISSING = "\N{EN DASH}"
"""Of a group with a run that was not evaluated by then."""


class Validation(NamedTuple):
  """The evaluations of a run on the validation split."""

  by_step: Curve
  by_time: Curve | None
  """None if the log has no times."""


def equal_budgets(subject: Comparison) -> Markup | None:
  """Returns the table of validation scores at equal steps and equal time."""
  members = [plotted(group) for group in subject.groups]
  runs = [run for group in members for run in group]
  metric = _metric(runs)
  if len(members) < 2 or metric is None:
    return None
  validations = [[_validation(r, metric) for r in group] for group in members]
  known = [one for group in validations for one in group]
  step = min(one.by_step.steps[-1] for one in known)
  time = _shortest_time(validations)
  rows = [
    [color_key(index, group.name), *_cells(metric, own, step, time)]
    for index, (group, own) in enumerate(
      zip(subject.groups, validations, strict=True)
    )
  ]
  head = ["", "steps", f"at step {markup.format_number(step)}"]
  if time is not None:
    duration = markup.format_duration(time)
    head += ["time", f"after {duration}", f"steps after {duration}"]
  title = f"Equal steps and time, {SPLIT} {display(metric).title}"
  note = _note(runs, subject.groups, time is not None)
  table = markup.table(head, rows)
  return markup.section(title, tag("p", note, class_="note"), table)


def _shortest_time(groups: Sequence[Sequence[Validation]]) -> float | None:
  """Returns the seconds of the fastest group, those of its slowest run.

  Returns:
    None if a log has no times.
  """
  curves = [[run.by_time for run in group] for group in groups]
  if any(curve is None for group in curves for curve in group):
    return None
  ends = [[c.steps[-1] for c in group if c is not None] for group in curves]
  return float(min(map(max, ends)))


def last_value(curve: Curve, limit: float) -> float | None:
  """Returns the last value of a curve up to `limit`, None if there is none."""
  count = int(np.searchsorted(curve.steps, limit, side="right"))
  return float(curve.values[count - 1]) if count else None


def _metric(runs: Sequence[Run]) -> str | None:
  """Returns the metric that all runs validate: `best_by`, or the first one."""
  names = [
    {name for name, by_split in run.curves.items() if SPLIT in by_split}
    for run in runs
  ]
  known = set.intersection(*names) - set(OPTIMIZATION) if names else set()
  chosen = {
    str(as_mapping(run.config.get("training")).get("best_by")) for run in runs
  }
  best_by = chosen.pop().removeprefix("-") if len(chosen) == 1 else ""
  if best_by in known and best_by != "loss":  # Loss is the default.
    return best_by
  return min(sorted(known), key=rank, default=None)


def _validation(run: Run, metric: str) -> Validation:
  by_time = wall_time.over_time(run, metric).get(SPLIT)
  return Validation(joined(run, metric)[0][SPLIT], by_time)


def _cells(
  metric: str, runs: Sequence[Validation], step: float, time: float | None
) -> list[str]:
  """Returns the cells of a group, means over its runs."""
  ends = [float(run.by_step.steps[-1]) for run in runs]
  at_step = [last_value(run.by_step, step) for run in runs]
  cells = [_number(ends), _score(metric, at_step)]
  if time is None:
    return cells
  curves = [run.by_time for run in runs if run.by_time is not None]
  durations = [float(curve.steps[-1]) for curve in curves]
  reached = [
    last_value(Curve(run.by_time.steps, run.by_step.steps), time)
    for run in runs
    if run.by_time is not None
  ]
  return [
    *cells,
    markup.format_duration(estimates.interval(durations).mean),
    _score(metric, [last_value(curve, time) for curve in curves]),
    _number(reached),
  ]


def _score(metric: str, values: Sequence[float | None]) -> str:
  known = [value for value in values if value is not None]
  if len(known) < len(values):
    return MISSING
  return estimates.format_estimate(metric, estimates.interval(known))


def _number(values: Sequence[float | None]) -> str:
  known = [value for value in values if value is not None]
  if len(known) < len(values):
    return MISSING
  return markup.format_number(round(estimates.interval(known).mean))


def _note(runs: Sequence[Run], groups: Sequence[Group], timed: bool) -> str:
  """Returns the definition of the columns."""
  note = (
    "The last evaluation up to the last step that all runs have reached"
    f"{', and up to the end of the fastest' if timed else ''}."
  )
  if any(len(plotted(group)) > 1 for group in groups):
    note += " Means over the runs with their 95% intervals."
  if not timed:
    return note
  note += (
    " Time is that since the start of the command, with compilation and "
    "evaluations."
  )
  if wall_time.machines_differ(runs):
    note += " The runs were on different machines: compare the steps."
  return note

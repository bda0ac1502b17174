"""The results of a search: the best config, a table of the trials, a page."""

import csv
import io
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState

from dlcore import experiment, report, storage
from dlcore.search.bayesian import STARTUP_TRIALS
from dlcore.search.shared_study import (
  OWN,
  REASON,
  SharedStudy,
  first_number,
)
from dlcore.search.space import Choice, Space, inner, label

BEST, TRIALS, PAGE = "best.json", "trials.csv", "search.html"

LEAST_FOR_IMPORTANCE = 10
"""Finished trials, of which the importance of parameters is estimated."""

NAMES = {
  TrialState.COMPLETE: "complete",
  TrialState.PRUNED: "pruned",
  TrialState.FAIL: "failed",
  TrialState.RUNNING: "running",
}


def ranked(study: SharedStudy) -> list[FrozenTrial]:
  """Returns the trials that made all of their steps, the best first."""
  complete = [
    one for one in study.counted() if one.state is TrialState.COMPLETE
  ]
  sign = -1 if study.maximizes else 1
  # Of equal values the earlier one is first.
  return sorted(complete, key=lambda one: (sign * (one.value or 0), one.number))


def values_of(
  trial: FrozenTrial, space: Space, leaves: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns the values of a trial by path.

  Args:
    trial: with the values as Optuna stores them.
    space: the distributions.
    leaves: of the config, for the trial of its own values.
  """
  if trial.user_attrs.get(OWN):
    return {path: leaves[path] for path in space if path in leaves}
  return {
    path: inner(space[path]).load(stored)
    for path, stored in trial.params.items()
    if path in space
  }


def write_results(
  study: SharedStudy,
  config: Mapping[str, Any],
  space: Space,
  workdir: Path,
  *,
  metric: str,
  algorithm: str,
  conclusion: Sequence[str] = (),
) -> None:
  """Writes `best.json`, `trials.csv` and `search.html`.

  Args:
    study: with its trials.
    config: the complete tree.
    space: the distributions.
    workdir: the folder of the search.
    metric: such as `"valid/accuracy"`, or `"-valid/loss"`.
    algorithm: its name.
    conclusion: sentences for the page.
  """
  leaves = experiment.leaves(config)
  best = ranked(study)
  if best:
    values = values_of(best[0], space, leaves)
    tree = experiment.with_leaves(config, values)
    storage.write_atomic(
      workdir / BEST, (json.dumps(tree, indent=2) + "\n").encode()
    )
  storage.write_atomic(
    workdir / TRIALS, _table(study, space, leaves).encode("utf-8", "replace")
  )
  report.write_search(
    workdir / PAGE,
    workdir.name,
    report.SearchResult(
      metric=metric.removeprefix("-"),
      maximize=study.maximizes,
      trials=[
        _as_row(one, space, leaves, algorithm in SPREAD)
        for one in study.counted()
        if one.state in NAMES
      ],
      scales={path: _scale(inner(one)) for path, one in space.items()},
      importance=importance(study),
      conclusion=list(conclusion),
      algorithm=algorithm,
    ),
  )


def importance(study: SharedStudy) -> dict[str, float]:
  """Returns how much each parameter decides whether a trial is a good one.

  PED-ANOVA, Watanabe et al. 2023 (arXiv:2304.10255); `{}` for too few trials.
  """
  complete = [one for one in ranked(study) if one.params]
  if len(complete) < LEAST_FOR_IMPORTANCE:
    return {}
  evaluator = optuna.importance.PedAnovaImportanceEvaluator()
  with warnings.catch_warnings(action="ignore"):  # Conditional parameters.
    try:
      return optuna.importance.get_param_importances(
        study.study, evaluator=evaluator
      )
    except (ValueError, RuntimeError):  # All values are equal.
      return {}


def leaderboard(
  study: SharedStudy, space: Space, leaves: Mapping[str, Any], count: int = 5
) -> str:
  """Returns the best trials as a table."""
  rows = [("trial", "value", *(path for path in space))]
  for one in ranked(study)[:count]:
    values = values_of(one, space, leaves)
    number = str(first_number(one))
    number += " (config)" if one.user_attrs.get(OWN) else ""
    rows.append(
      (
        number,
        f"{one.value:.5g}",
        *(_short(values[path]) if path in values else "" for path in space),
      )
    )
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return "\n".join(
    "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
    for row in rows
  )


def counts(study: SharedStudy) -> dict[str, int]:
  """Returns the number of trials by state."""
  states = [one.state for one in study.counted()]
  return {name: states.count(state) for state, name in NAMES.items()}


SPREAD = ("random", "sobol", "grid")
"""The algorithms without a model."""


def _as_row(
  trial: FrozenTrial,
  space: Space,
  leaves: Mapping[str, Any],
  is_spread: bool = False,
) -> report.SearchTrial:
  value = trial.value if trial.state is TrialState.COMPLETE else None
  if trial.state is TrialState.PRUNED:
    value = trial.user_attrs.get("value")
  return report.SearchTrial(
    number=first_number(trial),
    state=NAMES[trial.state],
    value=value,
    values=values_of(trial, space, leaves),
    curve=sorted(trial.intermediate_values.items()),
    reason=trial.user_attrs.get(REASON, ""),
    is_config=OWN in trial.user_attrs,
    is_spread=is_spread or trial.number < STARTUP_TRIALS + len(space),
  )


def _table(study: SharedStudy, space: Space, leaves: Mapping[str, Any]) -> str:
  """Returns all trials as CSV."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(["trial", "state", "value", "seeds", *space, "reason"])
  for one in study.counted():
    if one.state not in NAMES:
      continue
    row = _as_row(one, space, leaves)
    seeds = one.user_attrs.get("seeds", [])
    writer.writerow(
      [
        row.number,
        row.state,
        "" if row.value is None else repr(row.value),
        " ".join(map(repr, seeds)),
        *(label(row.values[p]) if p in row.values else "" for p in space),
        row.reason,
      ]
    )
  return text.getvalue()


def _scale(one: Any) -> str:
  if isinstance(one, Choice):
    return "choice"
  return "log" if one.log else "linear"


def _short(value: Any) -> str:
  return f"{value:.4g}" if isinstance(value, float) else label(value)


class Confirmation(NamedTuple):
  """The winner and the config on further seeds."""

  sentence: str
  is_better: bool


def confirm(
  best: Mapping[int, Mapping[str, Any]],
  own: Mapping[int, Mapping[str, Any]],
  *,
  metric: str,
) -> Confirmation:
  """Compares the winner of a search with the config, on the test split.

  Args:
    best: results of `experiment.train_seeds` of the winner.
    own: those of the config, with the same seeds.
    metric: such as `"valid/accuracy"` or `"-valid/loss"`.
  """
  sign = -1 if metric.startswith("-") else 1
  name = metric.removeprefix("-").removeprefix("valid/")
  keys = [f"{split}/{name}" for split in ("test", "valid")]
  first = next(iter(best.values()))["metrics"]
  key = next((key for key in keys if key in first), keys[1])
  gains = [
    sign * (best[seed]["metrics"][key] - own[seed]["metrics"][key])
    for seed in best
  ]
  mean, half, _ = report.estimates.interval(gains)
  means = [
    sum(one["metrics"][key] for one in runs.values()) / len(runs)
    for runs in (best, own)
  ]
  shown = (
    f"{key} {means[0]:.4f} against {means[1]:.4f} of the config, over "
    f"{len(best)} further seeds"
  )
  if half is None or math.isnan(half):
    return Confirmation(f"{shown}; one seed says nothing about noise", False)
  is_better = mean - half > 0
  verdict = (
    "the search has beaten the config"
    if is_better
    else "the search has not beaten the config by more than the noise of seeds"
  )
  difference = f"{sign * mean:+.4f} ± {half:.4f} (95% interval)"
  return Confirmation(f"{verdict}: {shown}, {difference}", is_better)

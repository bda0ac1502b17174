"""A search with its results, and the comparison at its end."""

import contextlib
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlcore import experiment
from dlcore.search import search_results
from dlcore.search.search_run import Settings, full_metric, search
from dlcore.search.shared_study import OWN, SharedStudy
from dlcore.search.space import Space

SHOW_SECONDS = 10.0
"""Between two tables while trials are running."""

FRESH = 1_000
"""Distance of the seeds of the comparison from those of the trials."""


def search_and_confirm(
  config: Mapping[str, Any],
  space: Space,
  workdir: Path,
  settings: Settings,
  *,
  confirm_seeds: int = 5,
) -> str:
  """Runs a search, writes its results and returns them as text.

  Args:
    config: the complete tree.
    space: the distributions, by path.
    workdir: the folder of the search.
    settings: how to search.
    confirm_seeds: runs of the best trial and of the config itself, with other
      seeds, that are compared on the test split; 0 for none.

  Raises:
    UserError: a mistake that the user can fix.
    Stopped: a signal was received.
  """
  board = _Board(space, experiment.leaves(config), settings.trials)
  study = search(config, space, workdir, settings, board.show)
  with contextlib.closing(study):
    return _conclude(study, config, space, workdir, settings, confirm_seeds)


def _conclude(
  study: SharedStudy,
  config: Mapping[str, Any],
  space: Space,
  workdir: Path,
  settings: Settings,
  confirm_seeds: int,
) -> str:
  """Writes the results of a search and returns them as text."""
  leaves = experiment.leaves(config)
  metric = full_metric(config, settings.metric)
  results = {"metric": metric, "algorithm": settings.algorithm}
  search_results.write_results(study, config, space, workdir, **results)
  best = search_results.ranked(study)
  lines = [search_results.leaderboard(study, space, leaves), ""]
  if not best:
    lines.append("no trial made all of its steps; trials.csv has the reasons")
  elif best[0].user_attrs.get(OWN):
    lines.append("no trial is better than the config itself")
  elif confirm_seeds:
    winner = experiment.with_leaves(
      config, search_results.values_of(best[0], space, leaves)
    )
    sentence = _confirm(winner, config, workdir, metric, confirm_seeds)
    search_results.write_results(
      study, config, space, workdir, **results, conclusion=[sentence]
    )
    lines.append(sentence)
  lines.append(
    f"--config={workdir / search_results.BEST} trains the best; see "
    f"{workdir / search_results.PAGE}"
  )
  return "\n".join(lines)


def _confirm(
  winner: Mapping[str, Any],
  config: Mapping[str, Any],
  workdir: Path,
  metric: str,
  count: int,
) -> str:
  """Trains the winner and the config with further seeds and compares them."""
  runs = [
    experiment.train_seeds(
      {**tree, "seed": config["seed"] + FRESH},
      count,
      workdir / "confirm" / name,
      progress=False,
    )
    for name, tree in (("best", winner), ("config", config))
  ]
  return search_results.confirm(*runs, metric=metric).sentence


class _Board:
  """Shows the best trials on standard error while others are running."""

  def __init__(self, space: Space, leaves: Mapping[str, Any], trials: int):
    self._space, self._leaves, self._trials = space, leaves, trials
    self._shown = 0.0
    self._start, self._first = time.monotonic(), -1

  def show(self, study: SharedStudy) -> None:
    """Shows the state of a study, at most every `SHOW_SECONDS`."""
    now = time.monotonic()
    if now - self._shown < SHOW_SECONDS:
      return
    self._shown = now
    states = search_results.counts(study)
    finished = sum(states[name] for name in ("complete", "pruned", "failed"))
    if self._first < 0:
      self._first = finished
    text = ", ".join(f"{n} {name}" for name, n in states.items() if n)
    if self._trials and finished > self._first:
      pace = (now - self._start) / (finished - self._first)
      left = pace * (self._trials - finished)
      text += (
        f"; {left / 60:.0f} min left" if left > 90 else f"; {left:.0f} s left"
      )
    board = search_results.leaderboard(study, self._space, self._leaves)
    print(f"{text}\n{board}\n", file=sys.stderr, flush=True)

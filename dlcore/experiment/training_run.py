"""Trains an experiment in a run folder, and evaluates a run."""

import functools
import json
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dlcore import (
  data,
  report,
  storage,
  tasks,
  training,
  trees,
)
from dlcore.errors import UserError, lookup
from dlcore.experiment import adapter_start, report_files
from dlcore.experiment.build import Experiment, Trained, build
from dlcore.experiment.final_scores import evaluate_best, with_tuned
from dlcore.experiment.folder import SUMMARY, RunFolder
from dlcore.experiment.phase_record import write_phases
from dlcore.experiment.registration import load_parts
from dlcore.experiment.restoring import restore_run, restore_variables
from dlcore.experiment.text_samples import training_samples
from dlcore.storage import checksums
from dlcore.training import Phases, State

PRINTED = ("step", "best_step", "parameters", "seconds", "examples_per_second")
"""The numbers of a summary that the terminal shows."""

logger = logging.getLogger("dlcore")


def train(
  config: Mapping[str, Any],
  workdir: str | Path,
  *,
  profile: tuple[int, int] | None = None,
  progress: bool = True,
  phases: Phases | None = None,
) -> dict[str, Any]:
  """Trains an experiment, or continues it if it is not finished.

  The test split is evaluated once, after the last step, with the checkpoint
  that the validation split chose.

  Args:
    config: the complete tree, see `complete`.
    workdir: the run folder.
    profile: see `training.fit`.
    progress: whether to show progress on standard error.
    phases: adds up the wall time by phase.

  Returns:
    The content of `summary.json`.

  Raises:
    UserError: a mistake that the user can fix.
    Stopped: a signal was received, and the state was saved.
  """
  phases = phases or Phases()
  folder = RunFolder(workdir)
  with folder.locked():
    config = adapter_start.continued(folder, config)
    folder.claim(config)
    with phases("data"):
      experiment = build(config, folder)
    if experiment.config is not config:
      folder.claim(experiment.config)
    _check_profile(profile, experiment.steps)
    folder.describe(experiment.sources())
    if finished := _read_finished(folder, experiment.steps):
      return finished
    folder.check_continues()
    write_phases(folder, experiment)
    phases.seconds["start"] = phases.total() - phases.seconds["data"]
    before = _train_earlier(experiment, folder, progress, phases)
    result = experiment.fit(
      folder.path,
      before=before,
      samples=training_samples(experiment),
      profile=profile,
      progress=progress,
      phases=phases,
    )
    with phases("report"):
      report.write_data(folder.path, experiment.sources())
    with phases("evaluation"):
      metrics, context = evaluate_best(folder, experiment, result.best)
    summary = training.summarize(
      phases,
      step=int(result.last.step),
      best_step=int(result.best.step),
      steps=experiment.steps,
      metrics=metrics,
      parameters=_count_parameters(experiment, result.last),
      batch_size=config["data"]["batch_size"],
      devices=experiment.devices,
    )
    summary |= {**context, "best_by": config["training"]["best_by"]}
    folder.write_json(SUMMARY, summary)
    with phases("report"):
      report.write(folder.path)
    return summary


def train_validated(
  config: Mapping[str, Any],
  workdir: str | Path,
  *,
  on_evaluation: training.OnEvaluation,
) -> None:
  """Trains an experiment for a search, without test split, results and report.

  Args:
    config: the complete tree.
    workdir: the run folder, in which the run continues.
    on_evaluation: see `training.fit`; also called for the evaluations of
      earlier processes.

  Raises:
    UserError: a mistake that the user can fix.
    Stopped: a signal was received, and the state was saved.
  """
  folder = RunFolder(workdir)
  with folder.locked():
    config = adapter_start.continued(folder, config)
    folder.claim(config)
    experiment = build(config, folder)
    folder.describe(experiment.sources())
    before = _train_earlier(experiment, folder, False, Phases())
    for step, values in _evaluations(folder):
      if on_evaluation(step, values):
        return
    experiment.fit(
      folder.path, before=before, progress=False, on_evaluation=on_evaluation
    )


def _evaluations(
  folder: RunFolder,
) -> Iterator[tuple[int, dict[str, float]]]:
  """Yields the evaluations before the newest checkpoint of a run.

  Of several validation sources it is the first.
  """
  newest = folder.newest_step() if folder.has_checkpoints() else 0
  log = folder.path / checksums.LOG
  if not newest or not log.is_file():
    return
  first = ""
  for line in log.read_text().splitlines():
    record = json.loads(line)
    step, split = record.pop("step"), record.pop("split")
    if split.partition("/")[0] == "valid" and step <= newest:
      first = first or split
      if split == first:
        yield step, record


def _train_earlier(
  experiment: Experiment, folder: RunFolder, progress: bool, phases: Phases
) -> Trained | None:
  """Trains the phases before the last one, each in a folder of its own.

  A phase is skipped if the next one has begun.

  Returns:
    What the last phase begins with; None if it is the only one.
  """
  count = len(experiment.earlier)
  folders = [*(folder.phases / str(i) for i in range(count)), folder.path]
  before = None
  for number, phase in enumerate(experiment.earlier):
    before = functools.cache(
      functools.partial(
        _train_phase,
        phase,
        folders[number],
        assets=folder.path,
        before=before,
        progress=progress,
        phases=phases,
      )
    )
    if not RunFolder(folders[number + 1]).has_checkpoints():
      logger.info(
        "phase %d of %d: %s steps", number + 1, count + 1, f"{phase.steps:,}"
      )
      before()
  return before


def _train_phase(
  phase: Experiment, folder: Path, **arguments: Any
) -> Mapping[str, Any]:
  """Trains a phase, or continues it, and returns its last variables."""
  last = phase.fit(folder, **arguments).last
  return tasks.variables(phase.task, last)


def evaluate(
  workdir: str | Path, split: str = "test", step: int | None = None
) -> dict[str, Any]:
  """Returns the metrics of a run on a split, by default of the best checkpoint.

  Args:
    workdir: the run folder; nothing else is needed but the data.
    split: `"train"`, `"valid"` or `"test"`.
    step: the checkpoint; None for the best.

  Returns:
    `{"split", "step", metric: value, ...}`.

  Raises:
    UserError: the split or the step does not exist, or the data has changed.
  """
  lookup(dict.fromkeys(data.Splits._fields), split, "split")
  folder = RunFolder(workdir)
  if (settings := folder.fit_settings()) is not None:
    return _evaluate_fit(folder, settings, split, step)
  config, step = folder.config(), folder.select_step(step)
  info, splits = folder.info(), folder.splits()
  if split not in splits:
    raise _no_split(split, splits)
  experiment = with_tuned(build(config, folder), folder.tuned())
  variables = restore_variables(
    folder, step, experiment.model, experiment.task, info
  )
  source = experiment.sources()[split]
  folder.compare_checksums({split: source})
  values = experiment.evaluator(source).evaluate(*variables)
  return {"split": split, "step": step, **(values or {})}


def _evaluate_fit(
  folder: RunFolder, settings: Mapping[str, Any], split: str, step: int | None
) -> dict[str, Any]:
  """Evaluates a run of `training.fit`, see `evaluate`."""
  parts = load_parts(settings, folder.path)
  step = folder.select_step(step)
  splits = {k: s for k, s in parts.splits._asdict().items() if s is not None}
  if split not in splits:
    raise _no_split(split, splits)
  if split in folder.splits():  # A test split was not part of training.
    folder.compare_checksums({split: splits[split]})
  run = restore_run(folder.path, step)
  evaluator = training.Evaluator(run.task, splits[split])
  values = evaluator.evaluate(run.params, run.model_state)
  return {"split": split, "step": step, **(values or {})}


def _no_split(split: str, splits: Iterable[str]) -> UserError:
  return UserError(
    f"expected a split of the run: {', '.join(splits)}",
    f"got {split!r}, which its data does not have",
  )


def _check_profile(profile: tuple[int, int] | None, steps: int) -> None:
  if profile and profile[0] >= steps:
    raise UserError(
      f"expected --profile to begin before step {steps}, the end of the run",
      f"got --profile={profile[0]}:{profile[1]}",
    )


def _read_finished(folder: RunFolder, steps: int) -> dict[str, Any] | None:
  """Returns the summary of a run that has made its last step, or None.

  Damaged summaries and predictions are written again, so None is returned.

  Args:
    folder: of the run.
    steps: of the whole run.
  """
  if not (folder.path / SUMMARY).exists():
    return None
  for name in report_files.NAMES:
    if not storage.is_intact(folder.path, name):
      logger.warning("writing again: %s, which was damaged", folder.path / name)
      return None
  try:
    summary = folder.read_json(SUMMARY)
  except UserError as error:
    logger.warning("writing again: %s", "; ".join(error.lines[:2]))
    return None
  metrics = summary.get("metrics")
  complete = isinstance(metrics, dict)
  numbers = [summary.get(name) for name in PRINTED]
  numbers += metrics.values() if complete else []
  complete &= all(map(_is_number, numbers))
  early = summary.get("stopped_early") is True
  finished = summary.get("finished") and (early or summary.get("step") == steps)
  newest = folder.newest_step() if folder.has_checkpoints() else None
  restorable = newest in (None, summary.get("step"))
  if not (finished and complete and restorable):
    return None
  if not storage.is_intact(folder.path, checksums.LOG):
    logger.warning(
      "%s differs from its checksum: lines are changed or missing",
      folder.path / checksums.LOG,
    )
  if not (folder.path / "report.html").exists():
    report.write(folder.path)
  logger.info("already finished: %s, at step %d", folder.path, summary["step"])
  return summary


def _is_number(value: object) -> bool:
  """Returns whether a JSON value is a number that a float can hold."""
  fits = isinstance(value, int) and abs(value) <= sys.float_info.max
  return fits or isinstance(value, float)


def _count_parameters(experiment: Experiment, state: State) -> int:
  variables = tasks.variables(experiment.task, state)
  return trees.count(variables["params"])

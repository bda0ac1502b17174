"""The scores of the best checkpoint, beside those of the trivial answer."""

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

from dlcore import data, tasks, training
from dlcore.experiment import report_files
from dlcore.experiment.build import Experiment
from dlcore.experiment.folder import TUNED, RunFolder
from dlcore.experiment.task_building import build_task
from dlcore.training import State
from dlcore.typing import ModelState, Params

logger = logging.getLogger("dlcore")


def evaluate_best(
  folder: RunFolder, experiment: Experiment, best: State
) -> tuple[dict[str, float], dict[str, Any]]:
  """Evaluates the best state, and writes arrays for the report.

  Returns:
    Validation and test metrics, and the fields of the summary that compare
    them with the trivial answer.
  """
  variables = training.evaluation_variables(best)
  sources = experiment.sources()
  experiment = _tune(folder, experiment, variables)
  splits = [split for split in ("valid", "test") if split in sources]
  metrics: dict[str, float] = {}
  context: dict[str, Any] = {}
  for split in splits:
    evaluator = experiment.evaluator(sources[split])
    if split != splits[-1]:
      metrics |= _by_split(split, evaluator.evaluate(*variables) or {})
      continue
    # The report shows predictions on the last split.
    values, rows = evaluator.evaluate_and_predict(*variables)
    metrics |= _by_split(split, values)
    context = _assess(experiment, split, values, rows)
    source = sources[split]
    report_files.write_predictions(
      folder, experiment, split, source, rows, variables
    )
    report_files.write_features(folder, experiment, source, variables)
  return metrics, context


def _by_split(split: str, values: Mapping[str, Any]) -> dict[str, Any]:
  return {f"{split}/{name}": value for name, value in values.items()}


def _tune(
  folder: RunFolder,
  experiment: Experiment,
  variables: tuple[Params, ModelState],
) -> Experiment:
  """Returns the experiment with the settings chosen on the validation split."""
  section, valid = experiment.config["task"], experiment.splits.valid
  choose = tasks.TASKS[section["name"]].tune(section)
  if choose is None or valid is None:
    return experiment
  rows = experiment.evaluator(valid).predict(*variables)
  tuned = choose(rows, data.read_all(valid, exclude=valid.info.inputs))
  folder.write_json(TUNED, tuned)
  return with_tuned(experiment, tuned)


def with_tuned(experiment: Experiment, tuned: Mapping[str, Any]) -> Experiment:
  """Returns the experiment with a task of the settings `tuned`."""
  if not tuned:
    return experiment
  info = experiment.splits.train.info
  _, task = build_task(experiment.config, info, tuned)
  return dataclasses.replace(experiment, task=task)


def _assess(
  experiment: Experiment,
  split: str,
  values: Mapping[str, float],
  rows: Mapping[str, Any],
) -> dict[str, Any]:
  """Returns the fields of the summary that compare scores with trivial ones."""
  assessable = tasks.TASKS[experiment.config["task"]["name"]].assessable
  if assessable is None:
    return {}
  source = experiment.sources()[split]
  targets = data.read_all(source, exclude=source.info.inputs)
  info = experiment.splits.train.info
  result = tasks.assess(assessable, values, rows, targets, info)
  for warning in result.warnings:
    logger.warning("%s: %s", split, warning)
  return {
    "trivial": _by_split(split, result.trivial),
    "trivial_answer": result.trivial_answer,
    "intervals": _by_split(
      split, {name: list(ends) for name, ends in result.intervals.items()}
    ),
    "warnings": list(result.warnings),
  }

"""Cross-validation: a run for each fold, and the predictions of all folds."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlcore import data, storage, tasks
from dlcore.data.info import IGNORED, LABELS
from dlcore.errors import UserError
from dlcore.experiment.build import build
from dlcore.experiment.folder import RunFolder
from dlcore.experiment.restoring import restore_variables
from dlcore.experiment.seeds import messages_once, train_series
from dlcore.training import Phases

PREDICTIONS = "predictions.jsonl"

FEW = 300
"""Number of examples below which the metrics of a single split vary much."""


@messages_once()
def train_folds(
  config: Mapping[str, Any],
  count: int,
  workdir: str | Path,
  *,
  progress: bool = True,
  phases: Phases | None = None,
) -> dict[int, dict[str, Any]]:
  """Trains `config` on each of `count` folds, and predicts every fold.

  The run of fold 3, which is its test split, is the folder `workdir/fold_3`. At
  the end `workdir/predictions.jsonl` has the prediction for each example by the
  run that did not learn from it.

  Args:
    config: the complete tree, see `complete`.
    count: how many folds.
    workdir: the folder of the runs' folders.
    progress: see `train_seeds`.
    phases: likewise.

  Returns:
    The results of `train` by fold.

  Raises:
    UserError: a mistake that the user can fix.
    Stopped: a signal was received, and the state of the run was saved.
  """
  if "folds" not in config["data"]:
    raise UserError(
      "expected a data set with the settings data.folds and data.fold",
      f"got {config['data']['name']!r}, which has none",
      "use --seeds, or let its loader pass folds and fold to data.make_splits",
    )
  if count < 2:
    raise UserError(
      "expected --folds of at least 2", f"got {count}", "--folds=5 is usual"
    )
  configs = {}
  for fold in range(count):
    section = {**config["data"], "folds": count, "fold": fold}
    configs[f"fold_{fold}"] = {**config, "data": section}
  results = train_series(configs, workdir, progress=progress, phases=phases)
  lines = [
    (_natural_order(row["input"]), _to_line(row))
    for fold, name in enumerate(configs)
    for row in predict_fold(Path(workdir) / name, fold)
  ]
  lines.sort(key=lambda line: line[0])
  text = "".join(line for _, line in lines)
  storage.write_atomic(Path(workdir) / PREDICTIONS, text.encode())
  return dict(enumerate(results.values()))


def predict_fold(workdir: Path, fold: int) -> Iterator[dict[str, Any]]:
  """Yields the prediction of a run for each example of its test split.

  Args:
    workdir: the folder of a finished run.
    fold: its number.

  Yields:
    `{"input", "fold", "target", ...}` with the name or position of the example,
    its target and the fields of `predict`.
  """
  folder = RunFolder(workdir)
  config, info = folder.config(), folder.info()
  step = folder.select_step()
  experiment = build(config, folder)
  source = experiment.splits.test
  if source is None:
    return
  variables = restore_variables(
    folder, step, experiment.model, experiment.task, info
  )
  rows = experiment.evaluator(source).predict(*variables)
  targets = data.read_all(source, exclude=info.inputs).get(info.schema.target)
  names = np.arange(source.size) if source.names is None else source.names
  kind = tasks.TASKS[config["task"]["name"]]
  for i, name in enumerate(names.tolist()):
    row = kind.to_json({key: values[i] for key, values in rows.items()}, info)
    length = None if source.lengths is None else int(source.lengths[i])
    value = None if targets is None else targets[i]
    target = None if value is None else _target(value, info.schema, length)
    yield {"input": name, "fold": fold, "target": target, **row}


def _to_line(row: Mapping[str, Any]) -> str:
  """Returns a line of JSON, with an error in place of numbers not finite."""
  try:
    return json.dumps(row, default=float, allow_nan=False) + "\n"
  except ValueError:
    kept = {key: row[key] for key in ("input", "fold")}
    error = "the prediction is not finite for this input"
    return json.dumps({**kept, "error": error}) + "\n"


def _target(value: np.ndarray, schema: data.Schema, length: int | None) -> Any:
  """Returns the target of an example as JSON data, a class by its name.

  Args:
    value: the target.
    schema: of the data.
    length: number of tokens, None without any.
  """
  if schema.classes and value.ndim == 0:
    return schema.classes[int(value)]
  if schema.classes and schema.target == LABELS:
    names = {IGNORED: None, **dict(enumerate(schema.classes))}
    return [names[i] for i in value[:length].tolist()]
  offset = schema.target_offset or 0.0
  return (value + offset if offset else value).tolist()


def _natural_order(name: str | int) -> list[str | int]:
  """Returns a sort key of names by their numbers, `"a.csv:2"` before 10."""
  parts = re.split(r"([0-9]+)", str(name))
  return [int(part) if i % 2 else part for i, part in enumerate(parts)]


def advise_folds(config: Mapping[str, Any], workdir: str | Path) -> str:
  """Returns advice to use folds after a run with few examples, else `""`."""
  section, sizes = config["data"], RunFolder(workdir).splits()
  count = sum(split["size"] for split in sizes.values())
  separate = any(section.get(key) for key in ("folds", "split", "test"))
  if "folds" not in section or separate or "test" not in sizes or count >= FEW:
    return ""
  return (
    f"test has {sizes['test']['size']} of {count} examples, so its metrics "
    "vary by chance: --folds=5 tests on all of them"
  )

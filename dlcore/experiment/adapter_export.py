"""Exports the adapters of a run as a folder of PEFT."""

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlcore import layers, transfer, trees
from dlcore.errors import UserError
from dlcore.experiment.adapter_start import LORA
from dlcore.experiment.card_sections import PEFT
from dlcore.experiment.exported_entries import (
  target_units_of,
  with_target_notes,
)
from dlcore.experiment.exported_model import exported_model
from dlcore.experiment.initial_weights import INITIALIZED, VOCABULARY
from dlcore.experiment.model_card import Written
from dlcore.experiment.restoring import RestoredRun, variables_of_run
from dlcore.transfer import load_errors, stacked_blocks
from dlcore.transfer.peft import task_updates
from dlcore.typing import PyTree


def write_peft(run: RestoredRun, output: str | Path, family: str) -> Written:
  """Writes a folder of PEFT, see `transfer.save_adapters`.

  Returns:
    A description of the files, and the library of the hub.

  Raises:
    UserError: the run has no adapters, or no published weights to which they
      belong; or its arrays have other shapes than those weights.
  """
  section = run.config.get("init", {})
  settings = section.get("strategy", {})
  if settings.get("name") != LORA:
    raise UserError(
      f"expected a run with init.strategy={LORA} for the format peft",
      f"got init.strategy={settings.get('name')}",
      "choose --format=safetensors",
    )
  if not section["source"]:
    raise UserError(
      "expected a run with init.source, whose weights the adapters need",
      "got one from random weights",
      "choose --format=safetensors, which writes merged weights",
    )
  model, _ = exported_model(run)
  variables = run.task.variables(run.params, run.model_state)
  source = _source(run)
  whole = [*_initialized(run), *_changed(run, source, model, variables)]
  entries = transfer.save_adapters(
    Path(output),
    model,
    run.params,
    variables,
    alpha=settings["alpha"],
    rank_stabilized=settings["rank_stabilized"],
    dropout=settings["dropout"],
    base_model=source,
    whole=f"^(?:{'|'.join(map(re.escape, whole))})$" if whole else "",
    units=target_units_of(run),
    family=family,
    published=run.folder.published(),
  )
  saved = ", ".join(entries["modules_to_save"] or ["none"])
  text = (
    f"{output}: adapters of rank {entries['r']} for {source}, and as a whole: "
    f"{saved}"
  )
  return Written(with_target_notes(text, run), PEFT)


def _source(run: RestoredRun) -> str:
  """Returns the recorded path or name of `init.source`, for any folder."""
  source = run.config["init"]["source"]
  recorded = run.folder.initial_weights().get("source", "")
  path = os.path.expanduser(source)
  return recorded or (os.path.abspath(path) if os.path.exists(path) else source)


def _changed(
  run: RestoredRun, source: str, model: Any, variables: PyTree
) -> Collection[str]:
  """Returns the paths of arrays without an update that differ from the source.

  Args:
    run: with adapters.
    source: the recorded path or name of the weights.
    model: of the run.
    variables: of the model, with merged updates.

  Raises:
    UserError: arrays have other shapes than those of the source, such as the
      embeddings of more tokens. PEFT would load them into the source's model.
  """
  section = run.config["init"]
  place = source if os.path.exists(source) else section["source"]
  base, report = transfer.load_pretrained(
    variables_of_run(Path(place).expanduser()) or place,
    model,
    variables,
    family=section["family"],
    head=section["head"],
    allow="|".join(filter(None, [section["allow"], VOCABULARY])),
  )
  if report.reshaped:
    changes = [f"{path} {note}" for path, note in report.reshaped.items()]
    raise UserError(
      f"expected arrays of the shapes of {source}, into whose model PEFT loads "
      "the adapters",
      f"got other ones: {load_errors.listed(changes)}",
      "choose --format=safetensors, which writes merged weights",
    )
  if section["strategy"].get("base") not in (None, "float32"):
    return ()  # All frozen arrays are rounded.
  own = _arrays(variables)
  updates = task_updates.updates(
    run.params[layers.ADAPTERS], trees.flatten(variables), own
  )
  return [
    path
    for path, array in _arrays(base).items()
    if path not in updates and not np.array_equal(array, own[path])
  ]


def _arrays(variables: PyTree) -> Mapping[str, np.ndarray]:
  return stacked_blocks.unstack(trees.flatten(variables))


def _initialized(run: RestoredRun) -> list[str]:
  """Returns the paths of the arrays that `init.source` lacked.

  Raises:
    UserError: the file is malformed.
  """
  if not (run.folder.path / INITIALIZED).exists():
    return []
  paths = run.folder.read_json(INITIALIZED).get("paths")
  if not isinstance(paths, list) or not all(isinstance(p, str) for p in paths):
    raise UserError(
      f"expected {run.folder.path / INITIALIZED} as training wrote it",
      "got other values than a list of paths",
      "put a good copy back",
    )
  return paths

"""Exports the adapters of a run as a folder of PEFT."""

import re
from pathlib import Path

from dlcore import transfer
from dlcore.errors import UserError
from dlcore.experiment.adapter_start import LORA
from dlcore.experiment.card_sections import PEFT
from dlcore.experiment.exported_model import exported_model
from dlcore.experiment.initial_weights import INITIALIZED
from dlcore.experiment.model_card import Written
from dlcore.experiment.restoring import RestoredRun


def write_peft(run: RestoredRun, output: str | Path, family: str) -> Written:
  """Writes a folder of PEFT, see `transfer.save_adapters`.

  Returns:
    A description of the files, and the library of the hub.

  Raises:
    UserError: the run has no adapters, or no published weights to which they
      belong.
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
  entries = transfer.save_adapters(
    Path(output),
    model,
    run.params,
    run.task.variables(run.params, run.model_state),
    alpha=settings["alpha"],
    rank_stabilized=settings["rank_stabilized"],
    dropout=settings["dropout"],
    base_model=section["source"],
    whole=_initialized(run),
    family=family,
    published=run.folder.published(),
  )
  whole = ", ".join(entries["modules_to_save"] or ["none"])
  return Written(
    f"{output}: adapters of rank {entries['r']} for {section['source']}, and "
    f"as a whole: {whole}",
    PEFT,
  )


def _initialized(run: RestoredRun) -> str:
  """Returns a pattern of the arrays that `init.source` lacked.

  Raises:
    UserError: the file is malformed.
  """
  if not (run.folder.path / INITIALIZED).exists():
    return ""
  paths = run.folder.read_json(INITIALIZED).get("paths")
  if not isinstance(paths, list) or not all(isinstance(p, str) for p in paths):
    raise UserError(
      f"expected {run.folder.path / INITIALIZED} as training wrote it",
      "got other values than a list of paths",
      "put a good copy back",
    )
  return f"^(?:{'|'.join(map(re.escape, paths))})$" if paths else ""

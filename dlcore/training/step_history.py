"""The record of the training steps that a run was made with."""

import json
import logging
from pathlib import Path
from typing import Any

from dlcore import provenance, sharding, storage
from dlcore.training import run_record

NAME = "assets/training_step.json"
MAX_BYTES = 1 << 20
"""Size above which the record is not read."""

CHANGE = (
  "another training step: a change of the model, the task, the augmentation or "
  "the penalty, or of a setting of them such as dropout or label_smoothing"
)

logger = logging.getLogger("dlcore")


def describe(
  fingerprint: str, partitioner: sharding.Partitioner
) -> dict[str, Any]:
  """Returns an entry of the record: the fingerprint and its conditions.

  Fingerprints are comparable with the same versions and devices only.

  Args:
    fingerprint: see `TracedStep`.
    partitioner: the devices.
  """
  return {"sha256": fingerprint, **conditions(partitioner)}


def conditions(partitioner: sharding.Partitioner) -> dict[str, Any]:
  """Returns the versions and devices, under which a program is the same."""
  return {
    "versions": provenance.versions(),
    "devices": {
      "kind": partitioner.mesh.devices.flat[0].device_kind,
      "count": partitioner.size,
      "compiler": partitioner.compiler,
    },
  }


def check(workdir: Path, step: int, entry: dict[str, Any]) -> None:
  """Checks that the step of a run at `step` is the one that made it.

  Args:
    workdir: the run folder.
    step: the number of steps so far.
    entry: see `describe`.

  Raises:
    UserError: it is another step.
  """
  earlier = [old for old in _read(workdir) if old["step"] < step]
  if earlier and _differs(earlier[-1], entry):
    run_record.refuse(workdir, CHANGE, "error")


def record(workdir: Path, step: int, entry: dict[str, Any]) -> None:
  """Records the training step that a run continues with after `step`.

  Logs a warning if it differs from the one that made the run so far, unless
  an earlier attempt from the same step has recorded it. A record that is
  missing or damaged begins again.

  Args:
    workdir: the run folder.
    step: the step to continue from, 0 for a new run.
    entry: see `describe`.
  """
  recorded = _read(workdir)
  earlier = [old for old in recorded if old["step"] < step]
  attempts = [old for old in recorded if old["step"] == step]
  new = {"step": step, **entry}
  differs = bool(earlier) and _differs(earlier[-1], new)
  if differs and new not in attempts:
    logger.warning(
      "the training step differs from that of the run up to step %d: settings "
      "of the model, task, optimizer or batches, or their code, have changed "
      "(a schedule such as cosine changes with the number of steps). The run "
      "continues with the new step; use a new workdir to start again",
      step,
    )
  is_same = bool(earlier) and earlier[-1] | {"step": step} == new
  history = earlier if is_same else [*earlier, new]
  if history != recorded:
    text = json.dumps({"steps": history}, indent=1) + "\n"
    storage.write_file(workdir, NAME, text.encode())


def _differs(old: dict[str, Any], new: dict[str, Any]) -> bool:
  """Returns whether comparable fingerprints differ."""
  conditions = ("versions", "devices")
  comparable = all(old.get(name) == new[name] for name in conditions)
  return comparable and old.get("sha256") != new["sha256"]


def _read(workdir: Path) -> list[dict[str, Any]]:
  """Returns the entries in order, none if the record cannot be read."""
  try:
    path = storage.checked_path(workdir, NAME)
    entries = storage.read_json(path, max_bytes=MAX_BYTES)["steps"]
    if not all(isinstance(entry["step"], int) for entry in entries):
      return []
    return sorted(entries, key=lambda entry: entry["step"])
  except (OSError, LookupError, TypeError, ValueError):
    return []

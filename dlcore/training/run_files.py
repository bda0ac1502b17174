"""The files that `fit` keeps of a run, next to its log and checkpoints.

A folder that `experiments/train.py` made has a config of its own, and keeps
it: such a run writes its own summary and page.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from dlcore import backend, data, provenance, report, storage
from dlcore.training.phases import Phases

CONFIG, DATA, SUMMARY = "config.json", "assets/data.json", "summary.json"
MAX_BYTES = 1 << 26
"""Size above which no file is read."""

KIND = "fit"
"""The value of `kind` in the config of a run of `training.fit`."""

EXCLUDED = (
  *("seed", "settings", "progress", "phases", "profile", "workdir"),
  "on_evaluation",
)
"""Arguments of `fit` that are not in the section `training` of the config."""


def has_own_config(workdir: Path) -> bool:
  """Returns whether the run is one of `fit`, not of `experiments/train.py`."""
  try:
    path = storage.checked_path(workdir, CONFIG)
    return storage.read_json(path, max_bytes=MAX_BYTES).get("kind") == KIND
  except FileNotFoundError:
    return True
  except (OSError, ValueError):
    return False


def write_description(
  workdir: Path,
  arguments: Mapping[str, Any],
  splits: Mapping[str, data.Source],
) -> None:
  """Writes the config and the description of the data of a run of `fit`.

  Args:
    workdir: the run folder.
    arguments: of `fit`. Numbers, strings and `settings` are kept.
    splits: the sources by name; `"train"` is described.
  """
  plain = {
    name: value
    for name, value in arguments.items()
    if isinstance(value, bool | int | float | str) and name not in EXCLUDED
  }
  train = splits["train"].info
  config = {
    "kind": KIND,
    "seed": arguments["seed"],
    "data": {"name": train.name},
    "settings": dict(arguments["settings"] or {}),
    "training": plain,
  }
  checksums = {
    name: {"size": source.info.size, "sha256": source.info.sha256}
    for name, source in splits.items()
  }
  _write(workdir, CONFIG, config)
  _write(workdir, DATA, {**data.info_to_json(train), "splits": checksums})


def write_summary(workdir: Path, summary: Mapping[str, Any]) -> None:
  """Writes the summary of a finished run of `fit`, and its page."""
  _write(workdir, SUMMARY, summary)
  report.write(workdir)


def summarize(
  phases: Phases,
  *,
  step: int,
  best_step: int,
  steps: int,
  metrics: Mapping[str, float],
  parameters: int,
  batch_size: int,
  devices: Sequence[jax.Device],
) -> dict[str, Any]:
  """Returns the content of `summary.json` of a finished run.

  Args:
    phases: the wall time.
    step: the last step.
    best_step: the one that validation chose.
    steps: of the whole run, more than `step` if it has stopped early.
    metrics: of the best step, by `split/name`.
    parameters: the number of parameters.
    batch_size: for examples per second.
    devices: of the run.
  """
  busy = max(phases.seconds["step"] + phases.seconds["feed"], 1e-9)
  return {
    "step": step,
    "best_step": best_step,
    "metrics": dict(metrics),
    "parameters": parameters,
    "seconds": phases.total(),
    "examples_per_second": phases.steps * batch_size / busy,
    "phases": dict(phases.seconds),
    "versions": provenance.versions(),
    "machine": provenance.machine(),
    "allocator": backend.allocator(),
    "devices": f"{len(devices)} x {devices[0].device_kind}",
    "finished": True,
    "stopped_early": step < steps,
  }


def read_metrics(workdir: Path, step: int) -> dict[str, float]:
  """Returns the validation metrics in the log of a step, by `split/name`."""
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  return {
    f"{line['split']}/{name}": value
    for line in map(json.loads, lines)
    if line["step"] == step and line["split"].startswith("valid")
    for name, value in line.items()
    if name not in ("step", "split") and isinstance(value, int | float)
  }


def _write(workdir: Path, name: str, content: Mapping[str, Any]) -> None:
  text = json.dumps(content, indent=1, default=str) + "\n"
  storage.write_file(workdir, name, text.encode())

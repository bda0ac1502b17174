"""Predicting with a run folder: for files that the run has never seen."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dlcore import data
from dlcore.errors import UserError
from dlcore.experiment.build import build_task, parameters
from dlcore.experiment.folder import RunFolder

ROWS = 256
"""How many inputs are read and predicted at a time."""


def predict(
  workdir: str | Path, paths: Sequence[str], step: int | None = None
) -> Iterator[dict[str, Any]]:
  """Yields a prediction for every image, or every row of every table.

  Args:
    workdir: the run folder; nothing else is needed.
    paths: files, or folders that count for the files in them.
    step: which checkpoint; None for the best.

  Yields:
    `{"input", "label", "probability", "probabilities"}`, for a regression
    `{"input", "prediction"}`, and `{"input", "error"}` for what cannot be
    read.

  Raises:
    UserError: the folder is no finished run, or a path is not there.
  """
  files = _files(paths)
  folder = RunFolder(workdir)
  config, about = folder.config(), folder.about()
  _, task = build_task(config, about)
  restored = folder.restored(folder.step(step))
  params, extra = parameters(task, about, restored, folder.path)
  function = jax.jit(task.predict)
  key = jax.random.key(0)
  read = _images if about["input"] == "image" else _tables
  for names, inputs, bad in read(files, about):
    yield from ({"input": name, "error": reason} for name, reason in bad)
    if not names:
      continue
    # Filled up to one size, so that one program serves all.
    filled = np.resize(inputs, (ROWS, *inputs.shape[1:]))
    batch = {about["input"]: filled, "index": np.arange(ROWS, dtype=np.int32)}
    rows = jax.device_get(function(params, extra, batch, key))
    for position, name in enumerate(names):
      row = {field: values[position] for field, values in rows.items()}
      yield {"input": name, **_told(row, about)}


def _files(paths: Sequence[str]) -> list[Path]:
  """Returns the files named, and those in the folders named, hidden ones not.

  Raises:
    UserError: a path is not there, or a folder is empty.
  """
  files = []
  for path in map(Path, paths):
    if not path.exists():
      raise UserError(
        "expected files or folders to predict", f"got {path}: no such file"
      )
    if path.is_dir():
      found = (file for file in path.rglob("*") if file.is_file())
      inside = sorted(f for f in found if not f.name.startswith("."))
      if not inside:
        raise UserError(f"expected files in the folder {path}", "got none")
      files += inside
    else:
      files.append(path)
  return files


def _images(files: Sequence[Path], about: Mapping[str, Any]):
  for start in range(0, len(files), ROWS):
    part = files[start : start + ROWS]
    inputs, bad = data.read_images(part, about)
    broken = {name for name, _ in bad}
    yield [str(f) for f in part if str(f) not in broken], inputs, bad


def _tables(files: Sequence[Path], about: Mapping[str, Any]):
  for file in files:
    try:
      inputs, names, bad = data.read_table(file, about)
    except UserError as error:
      yield [], None, [(str(file), "; ".join(error.lines))]
      continue
    yield [], None, bad
    for start in range(0, len(names), ROWS):
      stop = start + ROWS
      yield names[start:stop], inputs[start:stop], []


def _told(row: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
  """Returns one prediction in words and plain numbers."""
  if "probabilities" not in row:
    return {name: float(value) for name, value in row.items()}
  best = int(np.argmax(row["probabilities"]))
  classes = about["classes"]
  chances = zip(classes, map(float, row["probabilities"]), strict=True)
  return {
    "label": classes[best],
    "probability": float(row["probabilities"][best]),
    "probabilities": dict(chances),
  }

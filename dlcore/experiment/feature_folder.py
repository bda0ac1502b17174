"""The folder of features: arrays, lines of JSON, and the page."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from dlcore import storage
from dlcore.errors import UserError
from dlcore.experiment.feature_analysis import Analysis

ARRAY, LINES, PAGE = "features.npy", "features.jsonl", "report.html"
ERRORS, PAIRS = "errors.jsonl", "duplicates.jsonl"
NAMES = (ARRAY, LINES, PAGE, ERRORS, PAIRS)


def check_output(folder: Path) -> None:
  """Checks that a folder is new, empty, or holds files of `NAMES` alone.

  Raises:
    UserError: it holds other files, or it is a file.
  """
  if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
    raise UserError(
      f"expected a folder at {folder}",
      f"got a {'link' if folder.is_symlink() else 'file'}",
      "choose another output",
    )
  others = sorted(set(os.listdir(folder)) - {*NAMES}) if folder.exists() else []
  if others:
    listed = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
    raise UserError(
      f"expected a new or empty folder as the output, or one of features: "
      f"{', '.join(NAMES)}",
      f"got {folder}, which holds {listed}"[:400],
      "choose another output",
    )


def write_arrays(folder: Path, analysis: Analysis, pairs: bool) -> None:
  """Writes all files but the page, and removes those of an earlier call.

  Args:
    folder: see `check_output`; it is created.
    analysis: the content.
    pairs: whether to write the similar pairs.
  """
  folder.mkdir(parents=True, exist_ok=True)
  for name in NAMES:
    (folder / name).unlink(missing_ok=True)
  rows = map(analysis.describe, range(len(analysis.examples)))
  errors = [{"input": name, "error": why} for name, why in analysis.errors]
  _write_lines(folder / LINES, rows)
  if errors:
    _write_lines(folder / ERRORS, errors)
  if pairs:
    _write_lines(folder / PAIRS, analysis.pair_lines())
  storage.write_atomic(
    folder / ARRAY, lambda file: np.save(file, analysis.values)
  )


def _write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
  def write(file: IO[bytes]) -> None:
    file.writelines(json.dumps(line).encode() + b"\n" for line in lines)

  storage.write_atomic(path, write)

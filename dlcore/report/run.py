"""Reads a run folder; a missing or malformed file becomes a remark.

The folder may come from an untrusted source: sizes are bounded before anything
is read, links are not followed and nothing is unpickled.
"""

import dataclasses
import os
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlcore import storage
from dlcore.data.info import LABELS
from dlcore.report import array_reader, curve_reader, sample_reader
from dlcore.report.array_reader import MAX_VALUE
from dlcore.report.json_values import as_mapping, as_number

MAX_JSON_BYTES = 2**24
ERRORS = (
  *(ValueError, TypeError, LookupError, EOFError, OSError),
  *(RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error),
  tokenize.TokenError,  # Of the header of an array that is not Python.
)
"""Errors that the content of a file can cause."""


@dataclasses.dataclass(frozen=True)
class Run:
  """The content of a run folder."""

  name: str
  config: Mapping[str, Any]
  data: Mapping[str, Any]
  summary: Mapping[str, Any]
  curves: Mapping[str, Mapping[str, curve_reader.Curve]]
  """By metric, then by split."""

  arrays: Mapping[str, np.ndarray]
  """Arrays of `dlcore.report_arrays`, checked."""

  remarks: tuple[str, ...]
  """Omitted files and arrays, with the reasons."""

  earlier: tuple[Mapping[str, Mapping[str, curve_reader.Curve]], ...] = ()
  """The curves of the phases before the last one, each from step 0."""

  phases: tuple[Mapping[str, Any], ...] = ()
  """The trained parameters of each phase, see `experiment.phase_record`."""

  clocks: tuple[curve_reader.Clock | None, ...] = ()
  """The wall time of each phase, the last one last."""

  @property
  def split(self) -> str:
    """The split of the predictions, `"test"` or `"valid"`."""
    return str(self.arrays.get("split", "test"))

  def named(self, name: str) -> dict[str, np.ndarray]:
    """Returns the array `name`, or all with the prefix `name` without it."""
    if not name.endswith("/"):
      return {name: self.arrays[name]} if name in self.arrays else {}
    return {
      key.removeprefix(name): array
      for key, array in self.arrays.items()
      if key.startswith(name)
    }


class File(NamedTuple):
  """A file of the run, and the function that reads it."""

  path: str
  read: Callable[[Path, list[str]], dict[str, Any]]
  """`(path, remarks) -> content`; adds to the remarks."""


def read_json(path: Path, remarks: list[str]) -> dict[str, Any]:
  """Returns the object in a JSON file."""
  del remarks
  return storage.read_json(path, max_bytes=MAX_JSON_BYTES)


CONFIG = File("config.json", read_json)
DATA = File("assets/data.json", read_json)
SUMMARY = File("summary.json", read_json)
METRICS = "metrics.jsonl"
PHASES = File("assets/phases.json", read_json)
MAX_PHASES = 100
ARRAYS = (
  File("assets/predictions.npz", array_reader.read_predictions),
  File("assets/features.npz", array_reader.read_features),
  File("assets/data_examples.npz", array_reader.read_data),
  File("assets/samples.json", sample_reader.read),
)


def read(workdir: Path, *, with_arrays: bool = True) -> Run:
  """Reads the folder of a run, finished or not.

  Args:
    workdir: the folder.
    with_arrays: whether to read predictions and feature maps too, which may be
      large.
  """
  workdir = Path(os.path.realpath(workdir))
  remarks: list[str] = []

  def content(file: File) -> dict[str, Any]:
    try:
      return file.read(storage.checked_path(workdir, file.path), remarks)
    except FileNotFoundError:
      return {}
    except ERRORS as error:
      remarks.append(f"{file.path} is omitted: {str(error)[:200]}")
      return {}

  def log(folder: str) -> curve_reader.Log:
    def read_log(path: Path, remarks: list[str]) -> dict[str, Any]:
      return curve_reader.read(path, remarks)._asdict()

    found = content(File(f"{folder}{METRICS}", read_log))
    return curve_reader.Log(**found) if found else curve_reader.Log({}, None)

  kept: dict[str, np.ndarray] = {}
  for file in ARRAYS if with_arrays else ():
    kept |= content(file)
  phases = content(PHASES).get("phases")
  phases = phases[:MAX_PHASES] if isinstance(phases, list) else []
  earlier = [log(f"phases/{number}/") for number in range(len(phases) - 1)]
  last = log("")
  return Run(
    earlier=tuple(phase.curves for phase in earlier),
    clocks=tuple(phase.clock for phase in (*earlier, last)),
    phases=tuple(map(as_mapping, phases)),
    name=workdir.name or "run",
    config=content(CONFIG),
    data=content(DATA),
    summary=content(SUMMARY),
    curves=last.curves,
    arrays=kept,
    remarks=tuple(remarks),
  )


def schema(run: Run, key: str) -> list | None:
  """Returns a list from the description of the data, such as its classes."""
  value = _schema_field(run, key)
  return value if isinstance(value, list) else None


def unit(run: Run) -> str:
  """Returns the unit of which each has a class, "examples" or "tokens"."""
  return "tokens" if _schema_field(run, "target") == LABELS else "examples"


def target_offset(run: Run) -> float:
  """Returns the number that was subtracted from the target, 0 for none."""
  return _as_offset(_schema_field(run, "target_offset"))


def offsets(run: Run, count: int) -> list[float]:
  """Returns the numbers that were subtracted from `count` input columns."""
  values = list(map(_as_offset, schema(run, "offsets") or []))
  return values if len(values) == count else [0.0] * count


def _as_offset(value: object) -> float:
  """Returns a JSON value as a float, 0 if it is not a finite number."""
  number = as_number(value)
  return number if number is not None and abs(number) < MAX_VALUE else 0.0


def _schema_field(run: Run, key: str) -> Any:
  """Returns a field of the schema; version 0.1 stored it in `data.json`."""
  return as_mapping(run.data.get("schema")).get(key, run.data.get(key))


def class_names(run: Run, count: int) -> list[str]:
  """Returns the names of `count` classes; an unnamed class has its number."""
  names = (schema(run, "classes") or [])[:count]
  return [str(name) for name in names] + [
    str(label) for label in range(len(names), count)
  ]


def last_step(run: Run) -> float | None:
  """Returns the last step in the metric log, or None."""
  ends = [
    curve.steps[-1] for by in run.curves.values() for curve in by.values()
  ]
  return float(max(ends)) if ends else None

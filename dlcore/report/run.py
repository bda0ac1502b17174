"""Reads a run folder; whatever is missing or malformed becomes a remark.

The folder may come from a stranger, so nothing in it is believed: sizes are
bounded before anything is read, links are not followed, nothing is unpickled.
"""

import dataclasses
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlcore.storage import checksums as integrity

LARGEST_JSON = 2**24
LARGEST_FILE = 2**28
LARGEST_VALUE = 1e30
MOST_CLASSES = 10_000
MOST_ROWS = 4096
POINTS = 500


class Curve(NamedTuple):
  """A metric over the steps, both float64 `[T]` and finite."""

  steps: np.ndarray
  values: np.ndarray


@dataclasses.dataclass(frozen=True)
class Run:
  """What a run folder says."""

  name: str
  config: Mapping[str, Any]
  data: Mapping[str, Any]
  summary: Mapping[str, Any]
  curves: Mapping[str, Mapping[str, Curve]]
  """By metric, then by split."""
  predictions: Mapping[str, np.ndarray]
  features: Mapping[str, np.ndarray]
  remarks: tuple[str, ...]
  """What was left out, and why."""


def read(workdir: Path, *, arrays: bool = True) -> Run:
  """Reads the folder of a run, finished or not.

  Args:
    workdir: the folder.
    arrays: whether to read predictions and feature maps too; they may be
      large.
  """
  workdir = workdir.resolve()
  remarks: list[str] = []

  def attempt(reader, name: str) -> dict[str, Any]:
    path = workdir / name
    try:
      if path.resolve() != path:
        raise ValueError("is a link")
      if not path.exists():
        return {}
      if not path.is_file():
        raise ValueError("is no plain file")
      if not integrity.is_intact(workdir, name):
        raise ValueError("is not as the run wrote it")
      return reader(path, remarks)
    except (
      *(ValueError, TypeError, LookupError, EOFError, OSError),
      *(RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error),
    ) as error:
      remarks.append(f"{name} is left out: {str(error)[:200]}")
      return {}

  return Run(
    name=workdir.name or "run",
    config=attempt(_read_json, "config.json"),
    data=attempt(_read_json, "assets/data.json"),
    summary=attempt(_read_json, "summary.json"),
    curves=attempt(_read_metrics, "metrics.jsonl"),
    predictions=attempt(_read_predictions, "assets/predictions.npz")
    if arrays
    else {},
    features=attempt(_read_features, "assets/features.npz") if arrays else {},
    remarks=tuple(remarks),
  )


def number(value: object) -> float | None:
  """Returns `value` as a float, or None where it is not a number."""
  if isinstance(value, bool) or not isinstance(value, int | float):
    return None
  try:
    return float(value)
  except OverflowError:
    return float("inf")


def numbers(value: object) -> dict[str, float]:
  """Returns the entries of `value` that are numbers; none if no mapping."""
  found = {key: number(entry) for key, entry in mapping(value).items()}
  return {key: entry for key, entry in found.items() if entry is not None}


def mapping(value: object) -> Mapping[str, Any]:
  """Returns `value` where it is a mapping, else an empty one."""
  return value if isinstance(value, Mapping) else {}


def class_names(run: Run, count: int) -> list[str]:
  """Returns the names of `count` classes; the number where there is none."""
  known = run.data.get("classes")
  known = known[:count] if isinstance(known, list) else []
  return [str(name) for name in known] + [
    str(label) for label in range(len(known), count)
  ]


def _read_json(path: Path, remarks: list[str]) -> dict[str, Any]:
  del remarks
  _check_size(path, LARGEST_JSON)
  content = json.loads(path.read_text(encoding="utf-8"))
  if not isinstance(content, dict):
    raise ValueError(f"expected an object, got {type(content).__name__}")
  return content


def _read_metrics(
  path: Path, remarks: list[str]
) -> dict[str, dict[str, Curve]]:
  _check_size(path, LARGEST_FILE)
  points: dict[str, dict[str, list[tuple[float, float]]]] = {}
  broken = strange = 0
  for line in _lines(path):
    broken += line is None
    step = number(line.get("step")) if line else None
    if line is None or step is None or not 0 <= step < LARGEST_VALUE:
      continue
    split = str(line.get("split", "train"))
    for metric, value in numbers(line).items():
      if metric in ("step", "seconds"):
        continue
      if abs(value) < LARGEST_VALUE:
        by_split = points.setdefault(metric, {})
        by_split.setdefault(split, []).append((step, value))
      else:  # NaN too: it compares false.
        strange += 1
  if broken:
    remarks.append(f"metrics.jsonl: unreadable lines left out: {broken}")
  if strange:
    remarks.append(f"metrics.jsonl: values not finite: {strange}")
  return {
    metric: {split: _thin(pairs) for split, pairs in by_split.items()}
    for metric, by_split in points.items()
  }


def _lines(path: Path) -> Iterator[dict[str, Any] | None]:
  """Yields the objects of a JSONL file, None for a line that is none."""
  with path.open(encoding="utf-8", errors="replace") as file:
    for text in file:
      if not text.strip():
        continue
      try:
        line = json.loads(text)
      except (ValueError, RecursionError):
        line = None
      yield line if isinstance(line, dict) else None


def _thin(pairs: list[tuple[float, float]]) -> Curve:
  """Sorts by step and replaces many points by the means of buckets."""
  array = np.array(sorted(pairs, key=lambda pair: pair[0]))
  if len(array) > POINTS:
    starts = np.linspace(0, len(array), POINTS, endpoint=False).astype(int)
    sizes = np.diff(np.append(starts, len(array)))
    array = np.add.reduceat(array, starts) / sizes[:, None]
  return Curve(array[:, 0], array[:, 1])


def _read_predictions(path: Path, remarks: list[str]) -> dict[str, np.ndarray]:
  arrays = _read_arrays(path)
  true = "label" if "label" in arrays else "target"
  _check_rows(arrays, "", true)
  try:
    _check_rows(arrays, "worst_", true)
  except (KeyError, ValueError) as error:
    if "worst_input" in arrays:
      remarks.append(f"the worst mistakes are left out: {error}")
    arrays = {k: v for k, v in arrays.items() if not k.startswith("worst_")}
  return arrays


def _read_features(path: Path, remarks: list[str]) -> dict[str, np.ndarray]:
  del remarks
  arrays = _read_arrays(path)
  axes = {"image": 3, "filters": 4}
  for name in (*axes, *arrays):
    array = arrays[name]
    good = array.dtype == np.uint8 and array.ndim == axes.get(name, 3)
    if not good or array.size == 0 or len(array) > MOST_ROWS:
      raise ValueError(f"{name} is {array.dtype} {array.shape}")
  return arrays


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
  _check_size(path, LARGEST_FILE)
  with zipfile.ZipFile(path) as archive:
    if sum(entry.file_size for entry in archive.infolist()) > LARGEST_FILE:
      raise ValueError("the arrays are too large")
  with np.load(path, allow_pickle=False) as archive:
    return {name: archive[name] for name in archive.files}


def _check_rows(
  arrays: Mapping[str, np.ndarray], prefix: str, true: str
) -> None:
  """Checks kinds, lengths and ranges of the arrays that begin with `prefix`.

  Raises:
    KeyError, ValueError: an array is missing or is not as expected.
  """
  names = [true, "prediction"] + ["probability"] * (true == "label")
  size = arrays[prefix + true].shape
  for name in (prefix + name for name in names):
    array = arrays[name]
    classes = true == "label" and not name.endswith("probability")
    if array.shape != size or array.ndim != 1 or array.size == 0:
      raise ValueError(f"{name} has the shape {array.shape}")
    if array.dtype.kind not in ("iu" if classes else "f"):
      raise ValueError(f"{name} has the type {array.dtype}")
    if classes and not 0 <= array.min() <= array.max() < MOST_CLASSES:
      raise ValueError(f"{name} is not within 0 to {MOST_CLASSES:,}")
    if not classes and not (np.abs(array) < LARGEST_VALUE).all():
      raise ValueError(f"{name} is not finite")
  if prefix:
    inputs = arrays["worst_input"]
    kinds = "u" if inputs.ndim == 4 else "iuf"
    if inputs.ndim not in (2, 4) or inputs.dtype.kind not in kinds:
      raise ValueError(f"inputs are {inputs.dtype} {inputs.shape}")
    if len(inputs) != size[0] or 0 in inputs.shape:
      raise ValueError(f"inputs have the shape {inputs.shape}")


def _check_size(path: Path, largest: int) -> None:
  if not path.is_file():
    raise ValueError("not a file")
  if path.stat().st_size > largest:
    raise ValueError(f"larger than {largest:,} bytes")

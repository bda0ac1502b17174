"""Reads the metric log of a run as curves."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlcore import storage
from dlcore.report.json_values import as_number, as_numbers

MAX_BYTES = 2**28
MAX_POINTS = 500
MAX_VALUE = 1e30
NOT_METRICS = ("step", "seconds")


class Curve(NamedTuple):
  """A metric over the steps, both float64 `[T]` and finite."""

  steps: np.ndarray
  values: np.ndarray


class Clock(NamedTuple):
  """The wall time of a log over its steps."""

  steps: np.ndarray
  seconds: np.ndarray
  """Float64 `[T]`, as `steps`. A process that continues the run starts its
  clock again, and its time is added."""

  process: float
  """Seconds of the last process at the last step."""


class Log(NamedTuple):
  """The content of a metric log."""

  curves: dict[str, dict[str, Curve]]
  """By metric, then by split."""

  clock: Clock | None
  """None if the log has no times."""


def read(path: Path, remarks: list[str]) -> Log:
  """Returns the curves and the clock.

  Args:
    path: of a JSONL file, a line `{"step": ..., "split": ..., metric: ...}`.
    remarks: gets one for unreadable lines, and one for values that are not
      finite.

  Raises:
    ValueError: the file is too large.
  """
  if path.stat().st_size > MAX_BYTES:
    raise ValueError(f"the file is larger than {MAX_BYTES:,} bytes")
  points: dict[str, dict[str, list[tuple[float, float]]]] = {}
  times: list[tuple[float, float]] = []
  unreadable = not_finite = 0
  for line in _lines(path):
    unreadable += line is None
    step = as_number(line.get("step")) if line else None
    if line is None or step is None or not 0 <= step < MAX_VALUE:
      continue
    split = str(line.get("split", "train"))
    time = as_number(line.get("seconds"))
    if time is not None and 0 <= time < MAX_VALUE:
      times.append((step, time))
    for metric, value in as_numbers(line).items():
      if metric in NOT_METRICS:
        continue
      if abs(value) < MAX_VALUE:
        by_split = points.setdefault(metric, {})
        by_split.setdefault(split, []).append((step, value))
      else:  # Includes NaN, whose comparisons are False.
        not_finite += 1
  if unreadable:
    remarks.append(f"metrics.jsonl: unreadable lines are omitted: {unreadable}")
  if not_finite:
    remarks.append(f"metrics.jsonl: values not finite: {not_finite}")
  curves = {
    metric: {split: _thin(pairs) for split, pairs in by_split.items()}
    for metric, by_split in points.items()
  }
  return Log(curves, _clock(times))


def _clock(times: list[tuple[float, float]]) -> Clock | None:
  """Returns the clock of pairs of step and seconds, in the order of the log."""
  if not times:
    return None
  before, last, pairs = 0.0, 0.0, []
  for step, time in times:
    if time < last:  # Another process.
      before += last
    pairs.append((step, before + time))
    last = time
  return Clock(*_thin(pairs), process=last)


def _lines(path: Path) -> Iterator[dict[str, Any] | None]:
  """Yields the object of each line, None for a malformed line."""
  with path.open("rb") as file:
    for line in filter(bytes.strip, file):
      try:
        yield storage.parse_json(line)
      except ValueError:
        yield None


def _thin(pairs: list[tuple[float, float]]) -> Curve:
  """Sorts by step and averages many points over buckets."""
  array = np.array(sorted(pairs, key=lambda pair: pair[0]))
  if len(array) > MAX_POINTS:
    starts = np.linspace(0, len(array), MAX_POINTS, endpoint=False).astype(int)
    sizes = np.diff(np.append(starts, len(array)))
    array = np.add.reduceat(array, starts) / sizes[:, None]
  return Curve(array[:, 0], array[:, 1])

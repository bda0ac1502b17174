"""The metric log of a run: `metrics.jsonl` and TensorBoard's events."""

import hashlib
import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from dlcore.errors import UserError
from dlcore.filesystem.atomic import check_no_folder, write_atomic
from dlcore.filesystem.json_file import parse_json
from dlcore.storage import checksums
from dlcore.storage.tensorboard import EventWriter

MAX_LINE = 1 << 20
"""Bytes of a line; longer ones are removed."""

logger = logging.getLogger("dlcore")


class MetricLog:
  """Writes the metrics of one run, one JSON object per line."""

  _file: IO[bytes]
  _events: EventWriter | None

  def __init__(self, workdir: Path, step: int):
    """Opens the log of `workdir` and removes the lines after `step`."""
    self._workdir = workdir
    self._open(step)

  def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
    """Appends one line; numbers are rounded to the 7 digits of float32.

    Values that are not finite are omitted, since JSON cannot represent them.
    """
    rounded = {
      name: float(f"{value:.7g}")
      for name, value in values.items()
      if math.isfinite(value)
    }
    line = json.dumps({"step": step, "split": split, **rounded}) + "\n"
    content = line.encode()
    self._file.write(content)
    self._file.flush()
    self._sha256.update(content)
    self._size += len(content)
    if self._events is None:
      folder = self._workdir / "tensorboard"
      self._events = EventWriter(folder, self._first)
    self._events.write(step, split, rounded)

  def mark(self, step: int) -> Callable[[], None]:
    """Returns a function to call before the checkpoint of `step` is written.

    It forces the lines so far to disk and records their checksum. The log must
    be open until it was called.
    """
    size, digest = self._size, self._sha256.hexdigest()
    file, workdir = self._file, self._workdir

    def sync() -> None:
      os.fsync(file.fileno())
      checksums.add_mark(workdir, step, size, digest)

    return sync

  def rewind(self, step: int) -> None:
    """Removes the lines after `step`."""
    self.close()
    self._open(step)

  def close(self) -> None:
    """Closes the log and the event file."""
    self._file.close()
    if self._events is not None:
      self._events.close()

  def _open(self, step: int) -> None:
    path = self._workdir / checksums.LOG
    if not checksums.is_log_intact(self._workdir, step):
      logger.warning(
        "%s differs from the log at the save of step %d: earlier lines are "
        "changed or missing",
        path,
        step,
      )
    content = truncate(path, step)
    checksums.remove_marks(self._workdir, step)
    self._first = step
    self._sha256 = hashlib.sha256(content)
    self._size = len(content)
    self._file = path.open("ab")
    self._events = None


def truncate(path: Path, step: int) -> bytes:
  """Removes lines after `step` and incomplete lines; returns the others.

  A warning counts the lines that are not records of metrics. The last one may
  be incomplete, if the process was killed while it wrote it. A link is replaced
  by a file with the content of its target.

  Raises:
    UserError: the file is larger than 4 GiB.
  """
  kept, are_records = [], []
  for line in _lines(path) if path.is_file() else ():
    of_line = _step(line)
    are_records.append(of_line is not None)
    if of_line is not None and of_line <= step:
      kept.append(line + b"\n")
  if wrong := are_records[:-1].count(False):
    logger.warning("%s: %d lines that are not records are removed", path, wrong)
  content = b"".join(kept)
  check_no_folder(path)
  write_atomic(path, content)
  return content


def _lines(path: Path) -> Iterator[bytes]:
  """Yields the lines of a log; long ones arrive in pieces."""
  size = path.stat().st_size
  if size > checksums.MAX_FILE_BYTES:
    raise UserError(
      f"expected a log of at most {checksums.MAX_FILE_BYTES:,} bytes at {path}",
      f"got {size:,} bytes",
      "put a good copy back, or remove it",
    )
  with path.open("rb") as file:
    while line := file.readline(MAX_LINE):
      yield line.rstrip()


def _step(line: bytes) -> int | float | None:
  """Returns the step of a record, None for other lines."""
  try:
    step = parse_json(line)["step"]
  except (ValueError, LookupError, TypeError):
    return None
  return step if isinstance(step, int | float) else None

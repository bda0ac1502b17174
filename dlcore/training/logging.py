"""What a run says while it goes: lines of JSON and of TensorBoard."""

import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from dlcore.training import integrity

warn = logging.getLogger("dlcore")

FLUSH_SECONDS = 5.0
"""After how long TensorBoard may see new lines."""


class RunLog:
  """Writes `metrics.jsonl` and TensorBoard's events of one run."""

  def __init__(self, workdir: Path, step: int):
    """Opens the log; whatever is later than `step` is cut off."""
    self._workdir = workdir
    self._step = step
    self._board = None
    self._flushed = 0.0
    if not integrity.log_intact(workdir, step):
      warn.warning(
        "%s is not as it was when step %d was saved: lines before that are "
        "changed or missing",
        workdir / integrity.LOG,
        step,
      )
    path = workdir / integrity.LOG
    content = cut(path, step)
    integrity.cut_log(workdir, step)
    self._sum = hashlib.sha256(content)
    self._size = len(content)
    self._file = path.open("ab")

  def rewind(self, step: int) -> None:
    """Takes back whatever is later than `step`."""
    self.close()
    self.__init__(self._workdir, step)

  def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
    """Adds one line; numbers keep the digits that float32 has.

    Those that are not finite are left out: JSON has none.
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
    self._sum.update(content)
    self._size += len(content)
    self._show(step, split, rounded)

  def mark(self, step: int) -> Callable[[], None]:
    """Returns what a save of `step`, as a checkpoint, has to do before.

    It returns when the lines so far are on disk, with their sum.
    """
    size, digest = self._size, self._sum.hexdigest()
    file, workdir = self._file, self._workdir

    def sync() -> None:
      os.fsync(file.fileno())
      integrity.mark_log(workdir, step, size, digest)

    return sync

  def close(self) -> None:
    """Closes both."""
    self._file.close()
    if self._board is not None:
      self._board.close()

  def _show(self, step: int, split: str, values: Mapping[str, float]) -> None:
    from tensorboardX.proto.event_pb2 import Event  # Late: it costs 0.3 s.
    from tensorboardX.proto.summary_pb2 import Summary

    scalars = [
      Summary.Value(tag=f"{split}/{name}", simple_value=value)
      for name, value in values.items()
    ]
    summary = Summary(value=scalars)
    now = time.time()
    board = self._tensorboard()
    board.write_event(Event(wall_time=now, step=step, summary=summary))
    if now - self._flushed > FLUSH_SECONDS:
      board.flush()
      self._flushed = now

  def _tensorboard(self):
    # Not SummaryWriter, whose queue costs 1 ms a line.
    if self._board is None:
      from tensorboardX.event_file_writer import EventsWriter
      from tensorboardX.proto.event_pb2 import Event, SessionLog

      folder = self._workdir / "tensorboard"
      if folder.is_symlink():  # What is written there would end elsewhere.
        folder.unlink()
      folder.mkdir(exist_ok=True)
      self._board = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
      start = SessionLog(status=SessionLog.START)
      self._board.write_event(
        Event(wall_time=time.time(), step=self._step + 1, session_log=start)
      )
    return self._board


def cut(path: Path, step: int) -> bytes:
  """Removes the lines that are later than `step`, or broken; returns the rest.

  A link is replaced by a file of what was there.
  """
  lines = path.read_bytes().splitlines() if path.is_file() else []
  kept = [line + b"\n" for line in lines if _until(line, step)]
  content = b"".join(kept)
  temporary = path.with_suffix(".tmp")
  temporary.unlink(missing_ok=True)  # It might be a link to elsewhere.
  with temporary.open("xb") as file:
    file.write(content)
  temporary.replace(path)
  return content


def _until(line: bytes, step: int) -> bool:
  try:
    return json.loads(line)["step"] <= step
  except (ValueError, KeyError, TypeError):
    return False

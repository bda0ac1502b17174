"""TensorBoard's event files, written without a queue."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlcore.filesystem.atomic import make_folder

FLUSH_SECONDS = 5.0
"""Seconds after which new events are visible to TensorBoard."""


class EventWriter:
  """Writes scalars to a new event file.

  `SummaryWriter` hands each line to a queue, which costs 1 ms a line.
  """

  def __init__(self, folder: Path, step: int):
    """Opens an event file in `folder`; events after `step` are discarded.

    Args:
      folder: created if missing; a link is removed, not followed.
      step: last step of earlier files that TensorBoard keeps.
    """
    from tensorboardX.event_file_writer import EventsWriter  # Late: 0.3 s.
    from tensorboardX.proto import event_pb2

    messages: Any = event_pb2  # protobuf defines its classes at run time.
    self._event = messages.Event
    if folder.is_symlink():
      folder.unlink()
    make_folder(folder)
    self._writer = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
    start = {"status": messages.SessionLog.START}
    self._write(step=step + 1, session_log=start)
    self._flushed = 0.0

  def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
    """Writes one event with a scalar `split/name` for each value."""
    scalars = [
      {"tag": f"{split}/{name}", "simple_value": value}
      for name, value in values.items()
    ]
    now = self._write(step=step, summary={"value": scalars})
    if now - self._flushed > FLUSH_SECONDS:
      self._writer.flush()
      self._flushed = now

  def close(self) -> None:
    """Flushes and closes the file."""
    self._writer.close()

  def _write(self, **fields: Any) -> float:
    """Writes an event and returns its time in seconds."""
    now = time.time()
    self._writer.write_event(self._event(wall_time=now, **fields))
    return now

"""Checkpoints by Orbax, which are read only if every byte is unchanged.

Orbax commits a step atomically, but restores flipped bits without an error and
follows links. So each committed step gets a manifest of checksums, written
last: a step without one is unfinished, a step that differs from it is damaged.
Nothing in a checkpoint is executed.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from dlcore import trees
from dlcore.errors import UserError
from dlcore.filesystem.lock import locked
from dlcore.storage import checkpoint_reader, cleanup
from dlcore.storage.step_writer import StepWriter
from dlcore.typing import PyTree


class _Snapshot(NamedTuple):
  """A checkpoint on the host that is waiting to be written."""

  tree: PyTree
  keep: frozenset[int]
  before: Callable[[], None]


class Checkpoints:
  """Writes the checkpoints of one run in the background.

  A checkpoint is `{"state": ..., "decisions": ...}`: the arrays of the devices
  and the decisions of the host between steps. As a context manager it is
  closed at the end, and abandoned on an exception.
  """

  def __init__(
    self, folder: str | Path, interval: float = 0.0, keep_every: int = 0
  ):
    """Locks `folder` against other runs, and removes unfinished steps.

    Args:
      folder: the checkpoints of the run, created if missing.
      interval: seconds from the end of a write to the next one. Of the
        checkpoints saved in between, the newest and those to keep wait in
        memory; the others are not written. With 0 every one is written.
      keep_every: saved steps divisible by it are never deleted; 0 for none.

    Raises:
      UserError: another run holds the folder, it is a link or cannot be
        written, or all of its steps are damaged.
    """
    self.folder = Path(folder)
    if os.path.islink(self.folder):
      raise UserError(
        f"expected a folder at {self.folder}",
        "it is a link",
        "replace the link by the folder",
      )
    with contextlib.ExitStack() as resources:
      resources.enter_context(locked(self.folder))
      latest = cleanup.clean(self.folder)
      self._writer = StepWriter(self.folder, keep_every, latest)
      resources.callback(self._writer.close)
      self._thread = ThreadPoolExecutor(1, "checkpoint")
      resources.callback(self._thread.shutdown)
      self._resources = resources.pop_all()
    self._interval = interval
    self._writing: Future | None = None
    self._changed = threading.Condition()
    self._waiting: dict[int, _Snapshot] = {}
    self._idle, self._hurry, self._due = True, False, 0.0

  def __enter__(self) -> "Checkpoints":
    """Returns itself."""
    return self

  def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
    """Closes, or after an exception abandons, the folder."""
    if kind is None:
      self.close()
    else:
      self.abandon()

  @property
  def latest(self) -> int | None:
    """The newest good step on disk, or None."""
    return self._writer.latest

  def restore(self, template: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the newest good checkpoint, see `storage.restore`."""
    return checkpoint_reader.restore(self.folder, template, self.latest)

  def save(
    self,
    step: int,
    tree: Mapping[str, Any],
    keep: Collection[int] = (),
    before: Callable[[], None] = lambda: None,
  ) -> None:
    """Copies `tree` from the devices, to be written in the background.

    Args:
      step: number of the checkpoint, at least `latest`, which may be saved
        again.
      tree: `{"state": ..., "decisions": ...}` of arrays.
      keep: steps to keep in addition to the latest two.
      before: called in the background before this checkpoint is written.

    Raises:
      UserError: `step` is below `latest`, or an earlier save failed.
    """
    if self.latest is not None and step < self.latest:
      raise UserError(
        f"expected step to be at least {self.latest}, the latest in "
        f"{self.folder}",
        f"got {step}",
        "choose another folder, or remove the later checkpoints",
      )
    if self._interval == 0:
      self.wait()
    elif self._writing is not None and self._writing.done():
      self._writing.result()
    # A copy, because the buffers are donated to the next step.
    arrays = jax.tree.map(np.array, dict(tree))
    nested = trees.nest(trees.flatten(arrays))
    snapshot = _Snapshot(nested, frozenset(keep), before)
    with self._changed:
      self._waiting = {
        other: waiting
        for other, waiting in self._waiting.items()
        if other in keep or self._writer.is_kept(other)
      }
      self._waiting[int(step)] = snapshot
      if self._idle:
        self._idle = False
        self._writing = self._thread.submit(self._write_all)

  def load(
    self, step: int, template: Mapping[str, Any]
  ) -> dict[str, Any] | None:
    """Returns the checkpoint of `step` once all saves are written.

    Returns:
      See `storage.restore`; None if the step is missing or damaged.

    Raises:
      UserError: a save failed.
    """
    self.wait()
    if not checkpoint_reader.is_good(self.folder, step):
      return None
    return checkpoint_reader.restore(self.folder, template, step)

  def roll_back(
    self, step: int, template: Mapping[str, Any]
  ) -> dict[str, Any] | None:
    """Returns the checkpoint of `step` and removes all later ones.

    Returns:
      See `storage.restore`; None if the step is missing or damaged.

    Raises:
      UserError: the last save failed.
    """
    self.wait()
    self._writer.remove_after(step)
    if self.latest != step:
      return None
    return checkpoint_reader.restore(self.folder, template, step)

  def wait(self) -> None:
    """Waits until every save is on disk with its manifest.

    Raises:
      UserError: a save failed because the disk is full.
    """
    with self._changed:
      self._hurry = True
      self._changed.notify()
    try:
      if self._writing is not None:
        self._writing.result()
    finally:
      self._hurry = False

  def close(self) -> None:
    """Waits for the last save and releases the folder.

    Raises:
      UserError: a save failed because the disk is full.
    """
    with self._resources:
      self.wait()

  def abandon(self) -> None:
    """Closes after an error, which an error of this method must not hide."""
    with contextlib.suppress(Exception):
      self.close()

  def _write_all(self) -> None:
    """Writes the waiting snapshots when they are due, until none waits."""
    while snapshots := self._take():
      for step, snapshot in snapshots:
        try:
          snapshot.before()
          self._writer.write(step, snapshot.tree, snapshot.keep)
        except Exception as error:
          raise self._writer.failure(step, error) from error
      self._due = time.monotonic() + self._interval

  def _take(self) -> list[tuple[int, _Snapshot]]:
    """Returns the snapshots in order of their steps, once they are due."""
    with self._changed:
      seconds = max(self._due - time.monotonic(), 0.0)
      self._changed.wait_for(lambda: self._hurry, seconds)
      snapshots = sorted(self._waiting.items())
      self._waiting = {}
      self._idle = not snapshots
      return snapshots

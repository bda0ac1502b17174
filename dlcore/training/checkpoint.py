"""Checkpoints by Orbax, trusted only when every byte is as it was written.

Orbax commits a step atomically, but restores flipped bits silently and
follows links. So each committed step gets a manifest of sha256 sums, written
last: a step without one was never finished, a step that differs from it is
damaged. Nothing in a checkpoint is executed.
"""

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from dlcore import trees
from dlcore.errors import UserError
from dlcore.training import manifest
from dlcore.training.state import State
from dlcore.typing import PyTree

ITEM = "state"
REPLACED = ".replaced"
"""The end of the name of a step while it is being written once more."""

KEPT = 2
"""How many of the latest steps are kept, beside those that must be."""

OVERHEAD = 1 << 18
"""Bytes that a step may need beside its arrays."""

log = logging.getLogger("dlcore")


class _Snapshot(NamedTuple):
  """A state on the host that is to be written."""

  tree: PyTree
  kept: frozenset[int]
  before: Callable[[], None]


class Checkpoints:
  """Writes the checkpoints of one run, in the background."""

  def __init__(self, folder: Path, interval: float = 0.0):
    """Opens `folder`, and holds it against other runs until it is closed.

    Args:
      folder: where the steps are.
      interval: seconds from the end of a write to the next one. Of the states
        that are saved meanwhile the newest and those to keep wait in memory,
        the others are left out. With 0 every one is written.

    Raises:
      UserError: another run holds it, or steps were finished but none of
        them is good any more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    self._lock = _locked(folder)
    self.folder = folder
    try:
      self.latest = _clear(folder)
    except BaseException:
      os.close(self._lock)
      raise
    self._interval = interval
    self._kept: frozenset[int] = frozenset()
    self._thread = ThreadPoolExecutor(1, "checkpoint")
    self._writing: Future | None = None
    self._changed = threading.Condition()
    self._waiting: dict[int, _Snapshot] = {}
    self._idle, self._hurry, self._due = True, False, 0.0
    self._manager: Any = None

  def restore(self, template: State) -> State | None:
    """Returns the newest good state, see `restore`; a failure closes all."""
    try:
      return restore(self.folder, template)
    except BaseException:
      self.abandon()
      raise

  def save(
    self,
    state: State,
    kept: Collection[int] = (),
    before: Callable[[], None] = lambda: None,
  ) -> None:
    """Copies `state` from the devices, to be written in the background.

    Args:
      state: what to save, under its own step.
      kept: steps to keep beside the latest ones; of states that were saved
        before.
      before: called in the background before this state is written.

    Raises:
      UserError: an earlier save failed.
    """
    if self._interval == 0:
      self.wait()
    elif self._writing is not None and self._writing.done():
      self._writing.result()
    # A copy: the buffers are given to the next step.
    tree = trees.nest(trees.flatten(jax.tree.map(np.array, state)))
    snapshot = _Snapshot(tree, frozenset(kept), before)
    with self._changed:
      still = {step: s for step, s in self._waiting.items() if step in kept}
      self._waiting = {**still, int(state.step): snapshot}
      if self._idle:
        self._idle = False
        self._writing = self._thread.submit(self._write_all)

  def go_back(self, step: int, template: State) -> State | None:
    """Returns the state of `step`, and removes all that is newer.

    Returns:
      None where the step is not there, or damaged.

    Raises:
      UserError: the last save failed.
    """
    self.wait()
    for newer in _steps(self.folder):
      if newer > step:  # Without its manifest it is no more, whatever comes.
        (self.folder / str(newer) / manifest.NAME).unlink()
        shutil.rmtree(self.folder / str(newer))
    if self._manager is not None:
      self._manager.reload()
    self.latest = newest(self.folder)
    return restore(self.folder, template) if self.latest == step else None

  def wait(self) -> None:
    """Returns when all that was saved is on disk, with its manifest."""
    with self._changed:
      self._hurry = True
      self._changed.notify()
    writing, self._writing = self._writing, None
    try:
      if writing is not None:
        writing.result()
    finally:
      self._hurry = False

  def close(self) -> None:
    """Waits for the last save and lets the folder go."""
    self.wait()
    self._thread.shutdown()
    if self._manager is not None:
      self._manager.close()
    os.close(self._lock)

  def abandon(self) -> None:
    """Closes after a failure, which no other error is to hide."""
    with contextlib.suppress(Exception):
      self.close()
    self._thread.shutdown(wait=False)

  def should_preserve(self, checkpoints, *, context=None) -> list[bool]:
    """Is Orbax's preservation policy: the latest steps and those to keep."""
    del context
    steps = sorted(checkpoint.step for checkpoint in checkpoints)
    kept = {*steps[-KEPT:], *self._kept}
    return [checkpoint.step in kept for checkpoint in checkpoints]

  def _write_all(self) -> None:
    """Writes what waits, when it is due, until nothing does."""
    while snapshots := self._take():
      for step, snapshot in snapshots:
        try:
          self._write(step, snapshot)
        except Exception as error:
          raise self._failure(step, error) from error
      self._due = time.monotonic() + self._interval

  def _take(self) -> list[tuple[int, "_Snapshot"]]:
    with self._changed:
      left = self._due - time.monotonic()
      self._changed.wait_for(lambda: self._hurry, max(left, 0.0))
      snapshots = sorted(self._waiting.items())
      self._waiting = {}
      self._idle = not snapshots
      return snapshots

  def _write(self, step: int, snapshot: "_Snapshot") -> None:
    import orbax.checkpoint as ocp  # Late: it costs a second.

    snapshot.before()
    # A write that fails half-way makes tensorstore's threads print tracebacks.
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(snapshot.tree))
    if shutil.disk_usage(self.folder).free < size + OVERHEAD:
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if self._manager is None:
      options = ocp.CheckpointManagerOptions(
        preservation_policy=self,
        enable_background_delete=False,
        enable_async_checkpointing=False,
        cleanup_tmp_directories=True,
      )
      self._manager = ocp.CheckpointManager(
        self.folder.absolute(), options=options
      )
    if step == self.latest:  # Evaluated anew, after a stop before that.
      (self.folder / str(step)).rename(self.folder / f"{step}{REPLACED}")
      self._manager.reload()
    self._kept = snapshot.kept
    item = ocp.args.StandardSave(snapshot.tree)
    self._manager.save(step, args=ocp.args.Composite(**{ITEM: item}))
    manifest.write(self.folder / str(step))
    shutil.rmtree(self.folder / f"{step}{REPLACED}", ignore_errors=True)
    self.latest = step

  def _failure(self, step: int, error: Exception) -> Exception:
    text = str(error)
    full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    if not full and "No space left" not in text and "ENOSPC" not in text:
      return error
    saved = "is none yet" if self.latest is None else f"is step {self.latest}"
    free = shutil.disk_usage(self.folder).free
    return UserError(
      f"the disk is full: step {step} could not be saved",
      f"{free / 1e6:.1f} MB are free at {self.folder}; the last good "
      f"checkpoint {saved}",
      "free some space and run the same command again: it goes on from there",
    )


def restore(
  folder: Path, template: State, step: int | None = None
) -> State | None:
  """Returns the newest good state in `folder`, on the host, or None.

  Args:
    folder: the checkpoints of a run.
    template: a state of the same shapes.
    step: to take that one.

  Raises:
    UserError: the checkpoint's arrays are not those of `template`.
  """
  step = newest(folder) if step is None else step
  if step is None:
    return None
  try:
    state = trees.restore(template, trees.flatten(read(folder, step)))
    if not np.array_equal(state.key, template.key):
      raise ValueError("the run there has another seed")
  except ValueError as error:
    raise UserError(
      f"expected a checkpoint of this very experiment in {folder}",
      str(error),
      "use another workdir, or the version of dlcore that wrote it",
    ) from error
  return state


def newest(folder: Path) -> int | None:
  """Returns the newest step that passes its manifest, or None.

  Damaged steps are named in a warning and passed over.
  """
  steps = sorted(_steps(folder), reverse=True)
  return next((step for step in steps if good(folder, step)), None)


def best(folder: Path) -> int | None:
  """Returns the best step, the newest where it is not there, or None."""
  last = newest(folder)
  if last is None:
    return None
  step = int(read(folder, last)["decided"]["best_step"])
  if step < 0:
    return last
  if not good(folder, step):
    log.warning("step %d, the best, is not there: taking %d", step, last)
    return last
  return step


def good(folder: Path, step: int) -> bool:
  """Tells whether a step is finished and undamaged; warns where it is not."""
  if step not in _steps(folder):
    return False
  try:
    manifest.verify(folder / str(step))
  except manifest.Damaged as damage:
    log.warning("checkpoint %d is passed over: %s", step, damage)
    return False
  return True


def read(folder: Path, step: int) -> dict[str, Any]:
  """Returns the arrays of a step as nested dicts of NumPy arrays.

  Raises:
    UserError: the step is not there, or damaged.
  """
  import orbax.checkpoint as ocp

  if step not in _steps(folder):
    have = ", ".join(map(str, sorted(_steps(folder)))) or "none"
    raise UserError(
      f"expected a finished checkpoint of step {step} in {folder}",
      f"the finished steps are: {have}",
    )
  try:
    manifest.verify(folder / str(step))
  except manifest.Damaged as damage:
    raise UserError(
      f"expected an undamaged checkpoint {folder / str(step)}", str(damage)
    ) from damage
  path = (folder / str(step) / ITEM).absolute()
  with ocp.PyTreeCheckpointer() as checkpointer:
    tree = checkpointer.metadata(path).item_metadata.tree
    host = jax.tree.map(
      lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree
    )
    return checkpointer.restore(path, restore_args=host)


def _steps(folder: Path) -> list[int]:
  """Returns the steps that were finished, damaged since or not."""
  if not folder.is_dir():
    return []
  return [
    int(path.name)
    for path in folder.iterdir()
    if path.name.isdecimal() and os.path.lexists(path / manifest.NAME)
  ]


def _locked(folder: Path) -> int:
  """Returns an open handle of `folder`, which no other process has locked."""
  handle = os.open(folder, os.O_RDONLY)
  try:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError as error:
    os.close(handle)
    raise UserError(
      f"expected {folder} to be free", "another run is going on in it"
    ) from error
  return handle


def _clear(folder: Path) -> int | None:
  """Removes what was never finished, sets aside what is damaged.

  Returns:
    The newest good step. Newer ones are gone, so that the run can write them
    again.
  """
  if folder.is_symlink():
    raise UserError(f"expected a folder at {folder}", "it is a link")
  for path in folder.glob(f"*{REPLACED}"):
    step = folder / path.name.removesuffix(REPLACED)
    if not (step / manifest.NAME).exists():
      shutil.rmtree(step, ignore_errors=True)
      path.rename(step)
    else:
      shutil.rmtree(path)
  finished = _steps(folder)
  good = newest(folder)
  if finished and good is None:
    raise UserError(
      f"expected a good checkpoint in {folder}",
      f"all of its steps are damaged: {', '.join(map(str, sorted(finished)))}",
      "restore the folder from a copy, or remove it to start anew",
    )
  for path in folder.iterdir():
    if not path.name.isdecimal() or int(path.name) <= (good or -1):
      continue
    if int(path.name) in finished:
      aside = folder.parent / "damaged" / path.name
      aside.parent.mkdir(exist_ok=True)
      if aside.exists():
        shutil.rmtree(aside)
      path.rename(aside)
      log.warning("moved the damaged checkpoint to %s", aside)
    else:
      shutil.rmtree(path) if not path.is_symlink() else path.unlink()
  return good

"""Checkpoints by Orbax, trusted only when every byte is as it was written.

Orbax commits a step atomically, but restores flipped bits silently and
follows links. So each committed step gets a manifest of sha256 sums, written
last: a step without one was never finished, a step that differs from it is
damaged. Nothing in a checkpoint is executed.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dlcore import trees
from dlcore.errors import UserError
from dlcore.training.state import State
from dlcore.typing import PyTree

MANIFEST = "sha256.json"
ITEM = "state"
REPLACED = ".replaced"
"""The end of the name of a step while it is being written once more."""

KEPT = 2
"""How many of the latest steps are kept, beside the best."""

OVERHEAD = 1 << 18
"""Bytes that a step may need beside its arrays."""

log = logging.getLogger("dlcore")


class Damaged(Exception):
  """A checkpoint that must not be read, and why."""


class Checkpoints:
  """Writes the checkpoints of one run, in the background."""

  def __init__(self, folder: Path):
    """Opens `folder`, and holds it against other runs until it is closed.

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
    self._best: int | None = None
    self._thread = ThreadPoolExecutor(1, "checkpoint")
    self._pending: Future | None = None
    self._manager: Any = None

  def restore(self, template: State) -> State | None:
    """Returns the newest good state, see `restore`; a failure closes all."""
    try:
      return restore(self.folder, template)
    except BaseException:
      self.abandon()
      raise

  def save(self, state: State, best_step: int) -> None:
    """Copies `state` from the devices and writes it in the background.

    Args:
      state: what to save, under its own step.
      best_step: the step to keep beside the latest ones.

    Raises:
      UserError: this or the last save failed.
    """
    self.wait()
    step = int(state.step)
    self._best = best_step
    tree = trees.nest(trees.flatten(state))
    try:
      self._make_sure_of_space(state)
      self._save(step, tree)
    except Exception as error:
      raise self._failure(step, error) from error
    self._pending = self._thread.submit(self._finish, step)

  def wait(self) -> None:
    """Returns when the last save is on disk, with its manifest."""
    if self._pending is not None:
      pending, self._pending = self._pending, None
      pending.result()

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
    """Is Orbax's preservation policy: keeps the latest and the best step."""
    del context
    steps = [checkpoint.step for checkpoint in checkpoints]
    kept = {*sorted(steps)[-KEPT:], self._best}
    return [step in kept for step in steps]

  def _make_sure_of_space(self, state: State) -> None:
    # A write that fails half-way makes tensorstore's threads print tracebacks.
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    if shutil.disk_usage(self.folder).free < size + OVERHEAD:
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  def _save(self, step: int, tree: PyTree) -> None:
    import orbax.checkpoint as ocp  # Late: it costs a second.

    if self._manager is None:
      options = ocp.CheckpointManagerOptions(
        preservation_policy=self,
        enable_background_delete=False,
        cleanup_tmp_directories=True,
      )
      self._manager = ocp.CheckpointManager(
        self.folder.absolute(), options=options
      )
    if step == self.latest:  # Evaluated anew, after a stop before that.
      (self.folder / str(step)).rename(self.folder / f"{step}{REPLACED}")
      self._manager.reload()
    item = ocp.args.StandardSave(tree)
    self._manager.save(step, args=ocp.args.Composite(**{ITEM: item}))

  def _finish(self, step: int) -> None:
    try:
      self._manager.wait_until_finished()
      write_manifest(self.folder / str(step))
      shutil.rmtree(self.folder / f"{step}{REPLACED}", ignore_errors=True)
    except Exception as error:
      raise self._failure(step, error) from error
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


def restore(folder: Path, template: State) -> State | None:
  """Returns the newest good state in `folder`, on the host, or None.

  Args:
    folder: the checkpoints of a run.
    template: a state of the same shapes.

  Raises:
    UserError: the checkpoint's arrays are not those of `template`.
  """
  step = newest(folder)
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


def good(folder: Path, step: int) -> bool:
  """Tells whether a step is finished and undamaged; warns where it is not."""
  if step not in _steps(folder):
    return False
  try:
    verify(folder / str(step))
  except Damaged as damage:
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
    verify(folder / str(step))
  except Damaged as damage:
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


def write_manifest(step: Path) -> None:
  """Writes the sums of all files of a committed step, atomically."""
  temporary = step / (MANIFEST + ".tmp")
  with temporary.open("w") as file:
    json.dump(_sums(step), file, indent=1, sort_keys=True)
    file.flush()
    os.fsync(file.fileno())
  temporary.replace(step / MANIFEST)


def verify(step: Path) -> None:
  """Compares every file of a step with the manifest.

  Raises:
    Damaged: a file is missing, changed, left over or a link.
  """
  try:
    wanted = dict(json.loads((step / MANIFEST).read_text()))
  except (OSError, ValueError, TypeError) as error:
    raise Damaged(f"its manifest cannot be read ({error})") from error
  try:
    sums = _sums(step)
  except OSError as error:
    raise Damaged(f"it cannot be read ({error})") from error
  for name in sorted(wanted.keys() | sums.keys()):
    if name not in sums:
      raise Damaged(f"{name} is missing")
    if name not in wanted:
      raise Damaged(f"{name} does not belong to it")
    if sums[name] != wanted[name]:
      raise Damaged(f"the sha256 sum of {name} differs from its manifest")


def _steps(folder: Path) -> list[int]:
  """Returns the steps that were finished, damaged since or not."""
  if not folder.is_dir():
    return []
  return [
    int(path.name)
    for path in folder.iterdir()
    if path.name.isdecimal() and os.path.lexists(path / MANIFEST)
  ]


def _sums(step: Path) -> dict[str, str]:
  if step.is_symlink():
    raise Damaged("it is a link")
  sums = {}
  for parent, folders, files in os.walk(step):
    for name in [*folders, *files]:
      path = Path(parent, name)
      if path.is_symlink() or not (path.is_file() or path.is_dir()):
        raise Damaged(f"{path.relative_to(step)} is a link")
    for name in files:
      path = Path(parent, name)
      if not name.startswith(MANIFEST):
        with path.open("rb") as file:
          digest = hashlib.file_digest(file, "sha256").hexdigest()
        sums[path.relative_to(step).as_posix()] = digest
  return sums


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
    if not (step / MANIFEST).exists():
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

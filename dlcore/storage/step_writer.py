"""Writing one checkpoint through Orbax, with its manifest as the last file."""

import errno
import os
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import jax

from dlcore.errors import UserError
from dlcore.storage import checkpoint_reader, cleanup, manifest
from dlcore.typing import PyTree

NUM_LATEST = 2
"""Number of latest steps that are preserved."""

OVERHEAD = 1 << 18
"""Bytes on disk that a step may need in addition to its arrays."""

FULL = (errno.ENOSPC, errno.EDQUOT)


class StepWriter:
  """Writes steps to a folder and deletes those that need not be preserved."""

  def __init__(self, folder: Path, keep_every: int, latest: int | None):
    """Prepares to write to `folder`, whose newest good step is `latest`.

    Args:
      folder: the checkpoints of a run.
      keep_every: steps divisible by it are never deleted; 0 for none.
      latest: the newest good step, or None.
    """
    self.folder = folder
    self.latest = latest
    self._keep_every = keep_every
    self._keep: frozenset[int] = frozenset()
    self._manager: Any = None

  def write(self, step: int, tree: PyTree, keep: Collection[int]) -> None:
    """Writes `tree` as `step`.

    Args:
      step: not below the latest one; that is replaced if equal.
      tree: nested dicts of NumPy arrays.
      keep: steps to preserve in addition to the latest ones.

    Raises:
      OSError: the disk is full, or another error of the system.
    """
    import orbax.checkpoint as ocp  # Late: the import takes 1 s.

    # A write that fails half-way makes tensorstore's threads print tracebacks.
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
    if shutil.disk_usage(self.folder).free < size + OVERHEAD:
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    manager = self._open()
    replaced = self.folder / f"{step}{cleanup.REPLACED}"
    if step == self.latest:  # Saved at a stop, and now with its evaluation.
      (self.folder / str(step)).rename(replaced)
      manager.reload()
    self._keep = frozenset(keep)
    item = ocp.args.StandardSave(tree)
    manager.save(
      step, args=ocp.args.Composite(**{checkpoint_reader.ITEM: item})
    )
    manifest.write(self.folder / str(step))
    cleanup.remove(replaced)
    self.latest = step

  def remove_after(self, step: int) -> None:
    """Removes the steps that are later than `step`."""
    for later in checkpoint_reader.finished_steps(self.folder):
      if later > step:
        # Without its manifest it is unfinished, even after a kill.
        (self.folder / str(later) / manifest.NAME).unlink()
        shutil.rmtree(self.folder / str(later))
    if self._manager is not None:
      self._manager.reload()
    self.latest = checkpoint_reader.newest_step(self.folder)

  def close(self) -> None:
    """Closes Orbax's manager."""
    if self._manager is not None:
      self._manager.close()

  def is_kept(self, step: int) -> bool:
    """Returns whether `keep_every` preserves `step`."""
    return self._keep_every > 0 and step % self._keep_every == 0

  def should_preserve(
    self, checkpoints: Sequence[Any], *, context: Any = None
  ) -> list[bool]:
    """Implements Orbax's `PreservationPolicy`."""
    del context
    steps = [checkpoint.step for checkpoint in checkpoints]
    preserved = {*sorted(steps)[-NUM_LATEST:], *self._keep}
    return [step in preserved or self.is_kept(step) for step in steps]

  def failure(self, step: int, error: Exception) -> Exception:
    """Returns a `UserError` if `error` is a full disk, else `error` itself."""
    text = str(error)
    full = isinstance(error, OSError) and error.errno in FULL
    if not full and "No space left" not in text and "ENOSPC" not in text:
      return error
    free = shutil.disk_usage(self.folder).free
    saved = "none" if self.latest is None else f"step {self.latest}"
    return UserError(
      f"the disk is full: step {step} could not be saved",
      f"{free / 1e6:.1f} MB are free at {self.folder}; "
      f"the last good checkpoint: {saved}",
      "free some space and run the same command again: it continues from there",
    )

  def _open(self) -> Any:
    import orbax.checkpoint as ocp

    if self._manager is None:
      options = ocp.CheckpointManagerOptions(
        preservation_policy=self,
        enable_background_delete=False,
        enable_async_checkpointing=False,
        cleanup_tmp_directories=True,
      )
      folder = self.folder.absolute()
      self._manager = ocp.CheckpointManager(folder, options=options)
    return self._manager

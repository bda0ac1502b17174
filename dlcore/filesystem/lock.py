"""A lock on a folder, which the kernel releases when the process ends."""

import contextlib
import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dlcore.errors import UserError

NFS_FILE = ".lock"
"""File that is locked in place of a folder on NFS."""


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
  """Creates `folder` and locks it against other processes.

  The lock is on the folder itself and ends with the process, however that
  ends, so a stale lock cannot remain.

  Args:
    folder: the folder, created with its parents.
    wait: whether to wait until another process releases the lock.

  Raises:
    UserError: the folder cannot be written, or another process holds the
      lock and `wait` is false.
  """
  with contextlib.ExitStack() as handles:
    try:
      folder.mkdir(parents=True, exist_ok=True)
      with tempfile.TemporaryFile(dir=folder):
        pass
      handle = os.open(folder, os.O_RDONLY)
      handles.callback(os.close, handle)
    except (OSError, ValueError) as error:  # ValueError for a null byte.
      reason = getattr(error, "strerror", None) or error
      raise UserError(
        f"expected a writable folder at {folder}",
        f"got: {reason}",
        "choose another folder",
      ) from error
    try:
      _acquire(handle, folder, wait, handles)
    except BlockingIOError as error:
      raise UserError(
        f"expected no other process to use {folder}",
        "got a folder that another run has locked",
        "wait for that run, or choose another folder",
      ) from error
    yield


def _acquire(
  handle: int, folder: Path, wait: bool, handles: contextlib.ExitStack
) -> None:
  operation = fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)
  try:
    fcntl.flock(handle, operation)
  except OSError as error:
    # NFS locks only files that are open for writing.
    if error.errno != errno.EBADF:
      raise
    file = handles.enter_context((folder / NFS_FILE).open("ab"))
    fcntl.flock(file, operation)

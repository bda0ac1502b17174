"""A lock on a folder, which the kernel releases when the process ends."""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dlcore.errors import UserError


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
  try:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
      pass
    handle = os.open(folder, os.O_RDONLY)
  except OSError as error:
    raise UserError(
      f"expected a writable folder at {folder}",
      f"got: {error.strerror or error}",
      "choose another folder",
    ) from error
  try:
    _acquire(handle, folder, wait)
    yield
  finally:
    os.close(handle)


def _acquire(handle: int, folder: Path, wait: bool) -> None:
  try:
    fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
  except BlockingIOError as error:
    raise UserError(
      f"expected no other process to use {folder}",
      "got a folder that another run has locked",
      "wait for that run, or choose another folder",
    ) from error

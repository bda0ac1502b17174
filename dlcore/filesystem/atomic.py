"""Atomic replacement of files: readers see the old content or the new one."""

import contextlib
import glob
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from dlcore.errors import UserError

STALE_SECONDS = 3600.0
"""Age at which the temporary file of a killed process is removed."""


def write_atomic(
  path: Path,
  content: bytes | Callable[[IO[bytes]], Any],
  *,
  fsync: bool = False,
  before: Callable[[Path], None] | None = None,
) -> None:
  """Writes a temporary file in the same folder and renames it to `path`.

  A link at `path` is replaced, never followed. On an error `path` keeps its
  old content and the temporary file is removed.

  Args:
    path: the file to create or replace; its folder exists.
    content: the bytes, or a function that writes them to a binary file.
    fsync: whether the content must be on disk before the file is renamed.
    before: called with the path of the complete temporary file before it is
      renamed.

  Raises:
    OSError: the disk is full, the parent is missing or not writable, or `path`
      is a folder.
  """
  temporary = temporary_path(path)
  temporary.unlink(missing_ok=True)  # It may be a link to another file.
  try:
    with temporary.open("xb") as file:
      if callable(content):
        content(file)
      else:
        file.write(content)
      if fsync:
        file.flush()
        os.fsync(file.fileno())
    if before is not None:
      before(temporary)
    temporary.replace(path)
  finally:
    temporary.unlink(missing_ok=True)
  _remove_stale(path)


def check_no_folder(path: Path) -> None:
  """Checks that a file can be written at `path`.

  Raises:
    UserError: there is a folder.
  """
  if path.is_dir() and not path.is_symlink():
    raise UserError(
      f"expected to write a file at {path}",
      "got a folder of that name",
      "move it away, or remove it",
    )


def make_folder(path: Path) -> None:
  """Creates a folder, unless it exists.

  Raises:
    UserError: there is a link or a file at `path`.
    OSError: the disk is full, or the parent is missing or not writable.
  """
  if path.is_symlink() or (path.exists() and not path.is_dir()):
    raise UserError(
      f"expected a folder at {path}",
      f"got a {'link' if path.is_symlink() else 'file'}",
      "move it away, or remove it",
    )
  path.mkdir(exist_ok=True)


def temporary_path(path: Path) -> Path:
  """Returns the path of this process's temporary file for `path`."""
  # Two processes may write one page or one cache entry at the same time.
  # Not by `with_name`, which fails for "/" and ".".
  return path.parent / f".{path.name}.{os.getpid()}.tmp"


def _remove_stale(path: Path) -> None:
  pattern = f".{glob.escape(path.name)}.*.tmp"
  for other in path.parent.glob(pattern):
    with contextlib.suppress(OSError):
      if time.time() - other.lstat().st_mtime > STALE_SECONDS:
        other.unlink()

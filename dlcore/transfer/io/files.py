"""Reads and writes plain files; files from elsewhere are checked first."""

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

from dlcore import storage
from dlcore.errors import UserError
from dlcore.filesystem import hub_cache

T = TypeVar("T")

MAX_BYTES = 1 << 26
"""Size limit of JSON files."""

POINTER = b"version https://git-lfs"
"""Start of the file that replaces a large one that Git LFS did not fetch."""


def open_plain(path: Path, link_root: Path | None = None) -> IO[bytes]:
  """Opens a plain file for reading.

  Args:
    path: path of the file.
    link_root: trusted folder. A link whose target lies in it is followed.

  Raises:
    UserError: the file is missing, a link, a folder, a pipe, a pointer of Git
      LFS, or cannot be read.
  """
  path = hub_cache.followed(path, link_root)
  try:
    file = storage.open_plain(path)
  except (OSError, ValueError) as error:
    raise UserError(
      f"expected a plain file at {path}",
      f"got: {getattr(error, 'strerror', None) or error}",
      "pass the path of the file itself, or copy the file there",
    ) from error
  if file.peek(len(POINTER)).startswith(POINTER):  # pyright: ignore  Buffered.
    file.close()
    raise UserError(
      f"expected the content of {path}",
      "got a pointer of Git LFS",
      f"run: git -C {shlex.quote(str(path.parent))} lfs pull",
    )
  return file


def byte_size(file: IO[bytes]) -> int:
  """Returns the size of an open file in bytes."""
  return os.fstat(file.fileno()).st_size


def parse_json(content: bytes) -> dict[str, Any]:
  """Returns the JSON object that UTF-8 bytes encode.

  Raises:
    ValueError: the bytes are not a JSON object, or a name is repeated in it.
  """
  return storage.parse_json(content, strict=True)


def read_json(path: Path, link_root: Path | None = None) -> dict[str, Any]:
  """Returns the object in a JSON file.

  Args:
    path: path of the file.
    link_root: see `open_plain`.

  Raises:
    UserError: it is not a plain file, too large, or not a JSON object.
  """
  return parse_file(path, parse_json, "a JSON object", link_root)


def parse_file(
  path: Path,
  parse: Callable[[bytes], T],
  description: str,
  link_root: Path | None = None,
) -> T:
  """Returns `parse(content)` of a file of at most `MAX_BYTES` bytes.

  Args:
    path: path of the file.
    parse: raises a `ValueError` for invalid content.
    description: of the content, for the message.
    link_root: see `open_plain`.

  Raises:
    UserError: the file is not plain, too large, or has invalid content.
  """
  with open_plain(path, link_root) as file:
    try:
      if byte_size(file) > MAX_BYTES:
        raise ValueError(f"{byte_size(file):,} bytes")
      return parse(file.read())
    except ValueError as error:
      raise UserError(
        f"expected {description} of at most {MAX_BYTES:,} bytes in {path}",
        f"got: {error}",
        "download or write the file again",
      ) from error


def write(path: Path, content: bytes | Callable[[IO[bytes]], Any]) -> None:
  """Writes a file atomically and creates its folder.

  Args:
    path: path of the file.
    content: bytes, or a function that writes them to a binary file.

  Raises:
    UserError: the disk is full, or the folder is not writable.
  """
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    storage.write_atomic(path, content, fsync=True)
  except OSError as error:
    raise UserError(
      f"expected to write {path}",
      f"got: {error.strerror or error}",
      "choose another folder, or free disk space",
    ) from error

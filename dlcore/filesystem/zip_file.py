"""Bounded opening of zip archives of untrusted sources."""

import contextlib
import os
import struct
import zipfile
from collections.abc import Iterator
from typing import IO

MAX_DIRECTORY_BYTES = 1 << 22
"""Size of the list of members, which `zipfile` reads as a whole."""

END = struct.Struct("<4s4H2LH")
"""The record at the end of an archive: signature, four numbers of disks and
members, size and position of the list of members, length of a comment."""

END_64 = struct.Struct("<4sQ2H2L4Q")
"""The record of large archives: ..., size and position of the list."""

LOCATOR_64_SIZE = 20
MAX_COMMENT = 1 << 16


@contextlib.contextmanager
def open_zip(file: IO[bytes], *, max_members: int) -> Iterator[zipfile.ZipFile]:
  """Opens a zip archive if the list of its members is within bounds.

  Args:
    file: an open binary file.
    max_members: number of members above which the archive is refused.

  Raises:
    ValueError: there are more members, or their list has more than 4 MiB.
    zipfile.BadZipFile: it is not an archive.
  """
  size = _directory_bytes(file)
  if size > MAX_DIRECTORY_BYTES:
    raise ValueError(
      f"the list of members has {size:,} bytes, more than "
      f"{MAX_DIRECTORY_BYTES:,}"
    )
  with zipfile.ZipFile(file) as archive:
    count = len(archive.infolist())
    if count > max_members:
      raise ValueError(f"{count:,} members, more than {max_members:,}")
    yield archive


def _directory_bytes(file: IO[bytes]) -> int:
  """Returns the size of the list of members, 0 if there is no archive."""
  length = file.seek(0, os.SEEK_END)
  file.seek(max(0, length - MAX_COMMENT - END.size - 1024))
  tail = file.read()
  file.seek(0)
  at = len(tail) - END.size
  if at < 0 or not tail.startswith(b"PK\5\6", at) or tail[-2:] != b"\0\0":
    at = tail.rfind(b"PK\5\6")
  if at < 0 or len(tail) < at + END.size:
    return 0
  size = END.unpack_from(tail, at)[5]
  at_64 = at - LOCATOR_64_SIZE - END_64.size
  if at_64 >= 0 and tail.startswith(b"PK\6\6", at_64):
    size = max(
      size if size < 0xFFFFFFFF else 0, END_64.unpack_from(tail, at_64)[8]
    )
  return size

"""Reader of NumPy's `.npz` archives, the format of the ViT and BiT releases.

An archive is a zip file of arrays. Sizes in its headers are compared with the
actual number of bytes before an array is allocated. Nothing is unpickled.
"""

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import ml_dtypes
import numpy as np

from dlcore.errors import UserError
from dlcore.filesystem import open_zip, quoted
from dlcore.transfer.io import files

SUFFIX = ".npy"
KINDS = "biuf"
"""Accepted `dtype.kind`: booleans and numbers, not objects, text or records."""

VOID_BFLOAT16 = np.dtype("V2")
"""Dtype under which NumPy, which lacks bfloat16, stores it."""

MAX_COMPRESSION_RATIO = 16
"""Limit of uncompressed over compressed size. Weights barely compress; only
zeros do."""

EXPANSION_SLACK = 1 << 20
"""Bytes added to that limit, for small archives."""

MAX_MEMBERS = 1 << 16

DAMAGE = (
  ValueError,
  EOFError,
  OSError,
  RuntimeError,
  NotImplementedError,
  tokenize.TokenError,  # Of a header that is not Python.
  zipfile.BadZipFile,
  zlib.error,
)
"""Errors that reading a damaged or hostile member raises."""


class File(Mapping[str, np.ndarray]):
  """The arrays of an archive by name. Each access reads the array again."""

  def __init__(self, path: str | Path):
    """Reads and checks the table of contents.

    Raises:
      UserError: the file is not plain, or not an archive of arrays.
    """
    self.path = Path(path)
    try:
      with (
        files.open_plain(self.path) as file,
        open_zip(file, max_members=MAX_MEMBERS) as self._archive,
      ):
        self._members = _members(self._archive)
    except (ValueError, NotImplementedError, zipfile.BadZipFile) as error:
      raise self._damaged(str(error)) from error

  def __getitem__(self, name: str) -> np.ndarray:
    """Reads one array.

    Raises:
      UserError: the content contradicts the header.
    """
    member = self._members[name]
    with files.open_plain(self.path) as file:
      # A new ZipFile would read the table of contents again, for each array.
      self._archive.fp = file  # pyright: ignore  The attribute may be None.
      try:
        with self._archive.open(member) as stream:
          return _read_array(stream, member.file_size)
      except DAMAGE as error:
        raise self._damaged(f"{quoted(name)}: {error}") from error
      finally:
        self._archive.fp = None

  def __iter__(self) -> Iterator[str]:
    return iter(self._members)

  def __len__(self) -> int:
    return len(self._members)

  def _damaged(self, reason: str) -> UserError:
    return UserError(
      f"expected an .npz file of numeric arrays at {self.path}",
      f"got {reason}",
      "download or write it again",
    )


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
  """Returns the entries by array name.

  Raises:
    ValueError: their total size is too large, a name is repeated, or an entry
      is not an array.
  """
  members: dict[str, zipfile.ZipInfo] = {}
  entries = archive.infolist()
  for entry in entries:
    name = entry.filename.removesuffix(SUFFIX)
    if name == entry.filename or entry.flag_bits & 1:  # Bit 0: encrypted.
      raise ValueError(f"{quoted(entry.filename)}, which is not an array")
    if name in members:
      raise ValueError(f"the name {quoted(name)} twice")
    members[name] = entry
  total = sum(entry.file_size for entry in entries)
  packed = files.byte_size(archive.fp)  # pyright: ignore  An open file.
  if total > MAX_COMPRESSION_RATIO * packed + EXPANSION_SLACK:
    raise ValueError(f"{packed:,} bytes that expand to {total:,}")
  return members


def _read_array(file: IO[bytes], size: int) -> np.ndarray:
  """Reads one member.

  Args:
    file: the open member.
    size: uncompressed size in bytes, header included.

  Raises:
    ValueError: the header is invalid, or the member is truncated.
  """
  version = np.lib.format.read_magic(file)
  if version == (1, 0):
    header = np.lib.format.read_array_header_1_0(file)
  elif version == (2, 0):
    header = np.lib.format.read_array_header_2_0(file)
  else:
    raise ValueError(f"version {version}")
  shape, is_fortran, dtype = header
  if dtype.kind not in KINDS and dtype != VOID_BFLOAT16:
    raise ValueError(f"the dtype {quoted(dtype)}")
  needed, available = math.prod(shape) * dtype.itemsize, size - file.tell()
  if min(shape, default=0) < 0 or needed != available:
    raise ValueError(f"{dtype} of shape {shape} in {available:,} bytes")
  data = file.read(needed)
  if len(data) != needed:
    raise ValueError(f"{len(data):,} of {needed:,} bytes")
  dtype = np.dtype(ml_dtypes.bfloat16) if dtype == VOID_BFLOAT16 else dtype
  order = "F" if is_fortran else "C"
  return np.frombuffer(data, dtype).reshape(shape, order=order)

"""NumPy's `.npz` archives, as the original ViT and BiT releases have them.

A zip file of arrays. Everything that it says of itself is compared with the
bytes that are there before an array is made, and nothing is unpickled.
"""

import contextlib
import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import ml_dtypes
import numpy as np

from dlcore.errors import UserError
from dlcore.transfer import files

END = ".npy"
KINDS = "biuf"
"""Booleans and numbers; no objects, texts or records."""

HALF = np.dtype("V2")
"""What NumPy makes of bfloat16, which it does not know."""

EXPANSION = 16
"""How many times as large as its archive the content may be: weights hardly
shrink, only zeros do."""

SLACK = 1 << 20
"""Bytes beside that, for small archives."""

MEMBERS = 1 << 16
"""The most arrays."""


class File(Mapping[str, np.ndarray]):
  """The arrays of an archive by name, each read anew when asked for."""

  def __init__(self, path: str | Path):
    """Checks the table of contents.

    Raises:
      UserError: it is no plain file, or no archive of arrays.
    """
    self.path = Path(path)
    with self._opened() as archive:
      self._names = list(_members(archive))

  def __getitem__(self, name: str) -> np.ndarray:
    """Reads one array.

    Raises:
      UserError: it is not what its header says.
    """
    with self._opened() as archive:
      member = _members(archive)[name]
      try:
        with archive.open(member) as file:
          return _array(file, member.file_size)
      except _BROKEN as error:
        raise self._damaged(f"{files.shown(name)}: {error}") from error

  def __iter__(self) -> Iterator[str]:
    return iter(self._names)

  def __len__(self) -> int:
    return len(self._names)

  @contextlib.contextmanager
  def _opened(self) -> Iterator[zipfile.ZipFile]:
    try:
      with files.opened(self.path) as file, zipfile.ZipFile(file) as archive:
        yield archive
    except (ValueError, NotImplementedError, zipfile.BadZipFile) as error:
      raise self._damaged(str(error)) from error

  def _damaged(self, reason: str) -> UserError:
    return UserError(
      f"expected an .npz file of plain arrays at {self.path}",
      f"got {reason}",
      "download or write it again",
    )


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
  """Returns the entries by the names of their arrays.

  Raises:
    ValueError: there are too many or too large ones, two of one name, or
      others than arrays.
  """
  found: dict[str, zipfile.ZipInfo] = {}
  entries = archive.infolist()
  if len(entries) > MEMBERS:
    raise ValueError(f"{len(entries):,} members, more than {MEMBERS:,}")
  for entry in entries:
    name = entry.filename.removesuffix(END)
    if name == entry.filename or entry.flag_bits & 1:
      raise ValueError(f"{files.shown(entry.filename)}, which is no array")
    if name in found:
      raise ValueError(f"the name {files.shown(name)} twice")
    found[name] = entry
  whole = sum(entry.file_size for entry in entries)
  packed = files.size(archive.fp)  # pyright: ignore  An open file.
  if whole > EXPANSION * packed + SLACK:
    raise ValueError(f"{packed:,} bytes that expand to {whole:,}")
  return found


def _array(file: IO[bytes], size: int) -> np.ndarray:
  """Reads one member of `size` bytes.

  Raises:
    ValueError: its header does not fit, or it ends too soon.
  """
  version = np.lib.format.read_magic(file)
  if version == (1, 0):
    shape, columns, dtype = np.lib.format.read_array_header_1_0(file)
  elif version == (2, 0):
    shape, columns, dtype = np.lib.format.read_array_header_2_0(file)
  else:
    raise ValueError(f"version {version}")
  if dtype.kind not in KINDS and dtype != HALF:
    raise ValueError(f"the dtype {files.shown(dtype)}")
  needed, given = math.prod(shape) * dtype.itemsize, size - file.tell()
  if min(shape, default=0) < 0 or needed != given:
    raise ValueError(f"{dtype} of the shape {shape} in {given:,} bytes")
  data = file.read(needed)
  if len(data) != needed:
    raise ValueError(f"{len(data):,} of {needed:,} bytes")
  dtype = np.dtype(ml_dtypes.bfloat16) if dtype == HALF else dtype
  order = "F" if columns else "C"
  return np.frombuffer(data, dtype).reshape(shape, order=order)


_BROKEN = (
  ValueError,
  EOFError,
  OSError,
  RuntimeError,
  NotImplementedError,
  zipfile.BadZipFile,
  zipfile.zlib.error,
)
"""What a damaged or hostile member raises when it is read."""

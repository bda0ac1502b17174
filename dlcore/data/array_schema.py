"""Arrays of any meaning, and `.npz` files that hold more of them."""

import contextlib
import dataclasses
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, ClassVar

import numpy as np

from dlcore.data.info import DataInfo, Inputs, ReadBatch, Schema
from dlcore.filesystem import open_zip

MAX_MEMBERS = 1024
"""Arrays in a file."""

MAX_COMPRESSION_RATIO = 64
"""Limit of uncompressed over compressed size: a small file must not take
minutes."""

EXPANSION_SLACK = 1 << 24
"""Bytes added to that limit, for small arrays."""

COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Those that NumPy writes. The dictionary of LZMA may take gigabytes."""

DAMAGED = (
  EOFError,
  KeyError,
  NotImplementedError,
  OSError,
  RuntimeError,
  ValueError,
  tokenize.TokenError,  # Of a header that is not Python.
  zipfile.BadZipFile,
  zlib.error,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArraySchema(Schema):
  """Schema of arrays in memory that no loader describes in more detail."""

  kind: ClassVar[str] = "arrays"

  def read(
    self, paths: Sequence[Path], info: DataInfo, rows: int
  ) -> Iterator[ReadBatch]:
    """Reads `.npz` files with an array `[N, ...]` for every input.

    One row is one example. Pickled objects are refused, and no more than a
    batch is decompressed at a time. Integers and floats of other widths are
    converted; a row whose values do not survive this is an error.
    """
    for path in paths:
      yield from _read_file(Path(path), info.inputs, rows)


def _read_file(path: Path, inputs: Inputs, rows: int) -> Iterator[ReadBatch]:
  try:
    if path.exists() and not path.is_file():  # Opening a pipe would wait.
      raise ValueError("not a plain file")
    with (
      path.open("rb") as file,
      open_zip(file, max_members=MAX_MEMBERS) as archive,
      contextlib.ExitStack() as stack,
    ):
      members = {
        name: _Member(archive, name, *spec, stack)
        for name, spec in inputs.items()
      }
      sizes = {name: member.size for name, member in members.items()}
      if len(set(sizes.values())) != 1:
        raise ValueError(f"expected arrays of one length, got {sizes}")
      size = next(iter(sizes.values()))
      for start in range(0, size, rows):
        count = min(rows, size - start)
        arrays = {name: member.take(count) for name, member in members.items()}
        yield _without_bad_rows(path, start, count, arrays)
  except DAMAGED as error:
    yield ReadBatch([], None, [(str(path), describe(error))])


def read_arrays(path: Path, kinds: str) -> dict[str, np.ndarray]:
  """Returns all arrays of an `.npz` file by name.

  Args:
    path: the file.
    kinds: `dtype.kind` of the arrays that are accepted.

  Raises:
    One of `DAMAGED`: it is not such a file, or an array has another dtype.
  """
  with (
    path.open("rb") as file,
    open_zip(file, max_members=MAX_MEMBERS) as archive,
  ):
    return {
      entry.filename.removesuffix(".npy"): _read_member(archive, entry, kinds)
      for entry in archive.infolist()
    }


def _read_member(
  archive: zipfile.ZipFile, entry: zipfile.ZipInfo, kinds: str
) -> np.ndarray:
  name = entry.filename.removesuffix(".npy")
  _check_entry(entry, name)
  with archive.open(entry) as stream:
    shape, dtype, fortran_order = _read_header(stream, name)
    if dtype.kind not in kinds or dtype.itemsize == 0:
      raise ValueError(f"{dtype} in the array {name!r}")
    content = stream.read()
  if len(content) != math.prod(shape) * dtype.itemsize:
    raise ValueError(f"{len(content):,} bytes in {name!r} of {dtype}{shape}")
  order = "F" if fortran_order else "C"
  return np.frombuffer(content, dtype).reshape(shape, order=order)


def describe(error: Exception) -> str:
  """Returns why a file is not readable, for one of `DAMAGED`."""
  if isinstance(error, FileNotFoundError):
    return "no such file"
  if isinstance(error, zipfile.BadZipFile):
    return f"not a readable .npz file: {error}"
  return str(error) or type(error).__name__


class _Member:
  """Reads the rows of one array of an `.npz` file in turn."""

  def __init__(
    self,
    archive: zipfile.ZipFile,
    name: str,
    shape: tuple[int, ...],
    dtype: str,
    stack: contextlib.ExitStack,
  ):
    try:
      entry = archive.getinfo(f"{name}.npy")
    except KeyError:
      stored = ", ".join(sorted(archive.namelist())[:10])
      raise ValueError(
        f"expected an array {name!r}, got the members {stored}"
      ) from None
    _check_entry(entry, name)
    self.stream: IO[bytes] = stack.enter_context(archive.open(entry))
    sizes, self.stored = _header(self.stream, name)
    self.dtype, self.shape = np.dtype(dtype), shape
    if not sizes or sizes[1:] != shape or sizes[0] < 0:
      expected = ", ".join(map(str, ("N", *shape)))
      raise ValueError(f"expected {name!r} of shape [{expected}], got {sizes}")
    both_integers = self.dtype.kind in "iu" and self.stored.kind in "iub"
    if not both_integers and not np.can_cast(
      self.stored, self.dtype, "same_kind"
    ):
      raise ValueError(f"expected {name!r} of {dtype}, got {self.stored}")
    self.size = sizes[0]

  def take(self, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the next rows in the stored and in the expected dtype."""
    length = count * math.prod(self.shape) * self.stored.itemsize
    content = self.stream.read(length)
    if len(content) != length:
      raise ValueError("the file is truncated")
    stored = np.frombuffer(content, self.stored).reshape(count, *self.shape)
    with np.errstate(over="ignore"):
      return stored, stored.astype(self.dtype)


def _check_entry(entry: zipfile.ZipInfo, name: str) -> None:
  """Checks that a member is not compressed beyond bounds."""
  if entry.compress_type not in COMPRESSIONS:
    raise ValueError(f"unknown compression of {name!r}")
  limit = MAX_COMPRESSION_RATIO * entry.compress_size + EXPANSION_SLACK
  if entry.file_size > limit:
    raise ValueError(
      f"{entry.compress_size:,} bytes of {name!r} that expand to "
      f"{entry.file_size:,}: write it by np.savez, uncompressed"
    )


def _read_header(
  stream: IO[bytes], name: str
) -> tuple[tuple[int, ...], np.dtype, bool]:
  """Returns shape, dtype and whether the order is that of Fortran."""
  # The header of later versions may be gigabytes long; NumPy writes them for
  # structured dtypes alone.
  if np.lib.format.read_magic(stream) != (1, 0):
    raise ValueError(f"unknown format of the array {name!r}")
  shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
  return shape, dtype, fortran_order


def _header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], np.dtype]:
  """Returns shape and dtype of a stream of numbers in C order."""
  shape, dtype, fortran_order = _read_header(stream, name)
  if dtype.kind not in "biuf" or dtype.itemsize == 0:
    raise ValueError(f"expected numbers in {name!r}, got the dtype {dtype}")
  if fortran_order and len(shape) > 1:
    raise ValueError(
      f"expected {name!r} in C order; save np.ascontiguousarray(array)"
    )
  return shape, dtype


def _without_bad_rows(
  path: Path,
  start: int,
  count: int,
  arrays: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> ReadBatch:
  """Returns the rows whose values fit the expected dtypes."""
  good = np.ones(count, bool)
  errors = []
  for name, (stored, converted) in arrays.items():
    exact = converted.dtype.kind in "iub"
    fits = converted == stored if exact else np.isfinite(converted)
    for row in np.flatnonzero(good & ~fits.reshape(count, -1).all(axis=1)):
      reason = "not finite"
      if exact:
        reason = f"not representable as {converted.dtype}"
      errors.append(
        (f"{path}[{start + row}]", f"a value of {name!r} is {reason}")
      )
      good[row] = False
  rows = np.flatnonzero(good)
  return ReadBatch(
    [f"{path}[{start + row}]" for row in rows],
    {name: array[rows] for name, (_, array) in arrays.items()}
    if len(rows)
    else None,
    errors,
  )

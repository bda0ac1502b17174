"""The safetensors format: a header in JSON, then numbers and nothing else.

Eight bytes give the size of the header, which gives each tensor's dtype, shape
and place: https://github.com/huggingface/safetensors. Files are mapped, not
read: an array is a view of the file and costs no memory until it is looked at.
"""

import json
import math
import mmap
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import ml_dtypes
import numpy as np

from dlcore.errors import UserError
from dlcore.transfer import files

DTYPES = {
  "BOOL": np.dtype(np.bool_),
  "U8": np.dtype(np.uint8),
  "I8": np.dtype(np.int8),
  "I16": np.dtype(np.int16),
  "U16": np.dtype(np.uint16),
  "F16": np.dtype(np.float16),
  "BF16": np.dtype(ml_dtypes.bfloat16),
  "I32": np.dtype(np.int32),
  "U32": np.dtype(np.uint32),
  "F32": np.dtype(np.float32),
  "F64": np.dtype(np.float64),
  "I64": np.dtype(np.int64),
  "U64": np.dtype(np.uint64),
}
"""In the order in which writers put the tensors, the last one first."""

NAMES = {dtype: name for name, dtype in DTYPES.items()}
ABOUT = "__metadata__"
LARGEST = 1 << 24
"""Of a header, in bytes: a hundred thousand tensors have less."""

RANK = 16
"""The most axes that a tensor may have."""


class Tensor(NamedTuple):
  """Where a tensor lies in the bytes after the header."""

  dtype: np.dtype
  shape: tuple[int, ...]
  start: int
  stop: int


class File(Mapping[str, np.ndarray]):
  """The arrays of a file by name: read-only views, made when asked for."""

  def __init__(self, path: str | Path, within: Path | None = None):
    """Checks the whole header and maps the file.

    Args:
      path: of the file.
      within: see `files.opened`.

    Raises:
      UserError: it is no plain file, or its header does not tell the truth.
    """
    self.path = Path(path)
    with files.opened(self.path, within) as file:
      try:
        self.tensors, self.metadata, self._begin = header(file)
      except ValueError as error:
        raise UserError(
          f"expected a safetensors file at {path}",
          f"got {error}",
          "download or write it again, or name the file that has the weights",
        ) from error
      self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

  def __getitem__(self, name: str) -> np.ndarray:
    """Returns a view of the file."""
    tensor = self.tensors[name]
    # What was looked at before lets its memory go; the file still has it.
    self._bytes.madvise(mmap.MADV_DONTNEED)
    count = math.prod(tensor.shape)
    at = self._begin + tensor.start
    array = np.frombuffer(self._bytes, tensor.dtype, count, at)
    return array.reshape(tensor.shape)

  def __iter__(self) -> Iterator[str]:
    return iter(self.tensors)

  def __len__(self) -> int:
    return len(self.tensors)


def header(file: IO[bytes]) -> tuple[dict[str, Tensor], dict[str, str], int]:
  """Reads a header, and believes nothing in it.

  Returns:
    The tensors by name, the metadata, and where the numbers begin.

  Raises:
    ValueError: what is wrong.
  """
  size = files.size(file)
  if size < 8:
    raise ValueError(f"{size} bytes, too few for a header")
  begin = file.read(8)
  (length,) = struct.unpack("<Q", begin)
  if length > min(size - 8, LARGEST):
    begin += file.read(8)
    if begin[8:9] != b"{":  # Another format: no size, but its first letters.
      raise ValueError(f"another format, which begins with {begin!r}")
    raise ValueError(
      f"a header of {length:,} bytes in a file of {size:,} (at most "
      f"{LARGEST:,})"
    )
  text = file.read(length)
  if not text.startswith(b"{"):
    raise ValueError("a header that begins with no brace")
  entries = files.parsed(text)
  metadata = _metadata(entries.pop(ABOUT, {}))
  tensors = {name: _tensor(name, entry) for name, entry in entries.items()}
  _check_places(tensors, size - 8 - length)
  return tensors, metadata, 8 + length


def _metadata(entry: Any) -> dict[str, str]:
  texts = isinstance(entry, dict) and all(
    isinstance(value, str) for value in entry.values()
  )
  if not texts:
    raise ValueError(f"metadata that is not text: {files.shown(entry)}")
  return entry


def _tensor(name: str, entry: Any) -> Tensor:
  """Returns the place of a tensor as its entry in the header tells it."""
  what = files.shown(name)
  keys = {"dtype", "shape", "data_offsets"}
  if not isinstance(entry, dict) or entry.keys() != keys:
    raise ValueError(f"{what} with other keys than {', '.join(sorted(keys))}")
  kind, shape, place = entry["dtype"], entry["shape"], entry["data_offsets"]
  if not isinstance(kind, str) or kind not in DTYPES:
    raise ValueError(f"{what} of the dtype {files.shown(kind)}")
  if not _wholes(shape) or len(shape) > RANK:
    raise ValueError(f"{what} of the shape {files.shown(shape)}")
  if not _wholes(place) or len(place) != 2 or place[0] > place[1]:
    raise ValueError(f"{what} at the offsets {files.shown(place)}")
  needed, given = math.prod(shape) * DTYPES[kind].itemsize, place[1] - place[0]
  if needed != given:
    raise ValueError(
      f"{what}, {kind} of the shape {files.shown(shape)}, in {given:,} bytes"
    )
  return Tensor(DTYPES[kind], tuple(shape), *place)


def _wholes(values: Any) -> bool:
  """Tells whether it is a list of whole numbers that a file may have."""
  return isinstance(values, list) and all(
    type(value) is int and 0 <= value < 1 << 63 for value in values
  )


def _check_places(tensors: Mapping[str, Tensor], size: int) -> None:
  """Checks that the tensors fill the bytes, one after the other."""
  end = 0
  for name, tensor in sorted(
    tensors.items(), key=lambda item: (item[1].start, item[1].stop)
  ):
    if tensor.stop > size:
      raise ValueError(
        f"{files.shown(name)} up to byte {tensor.stop:,} of {size:,}"
      )
    if tensor.start != end:
      what = "a gap before" if tensor.start > end else "an overlap with"
      raise ValueError(f"{what} {files.shown(name)}, at byte {end:,}")
    end = tensor.stop
  if end != size:
    raise ValueError(f"{size - end:,} bytes that belong to no tensor")


def write(
  path: str | Path,
  arrays: Mapping[str, np.ndarray],
  metadata: Mapping[str, str] | None = None,
) -> None:
  """Writes arrays, all or nothing; the same ones always give the same bytes.

  Args:
    path: of the file.
    arrays: by name; read one after the other.
    metadata: texts by name. Transformers wants `{"format": "pt"}`.

  Raises:
    UserError: the file cannot be written.
    ValueError: an array has a dtype that the format lacks.
  """
  order = _order(arrays)
  text = _header(arrays, order, metadata)

  def put(file: IO[bytes]) -> None:
    file.write(struct.pack("<Q", len(text)) + text)
    for name in order:
      array = np.ascontiguousarray(arrays[name])
      file.write(array.reshape(-1).view(np.uint8).data)

  files.write(Path(path), put)


def _order(arrays: Mapping[str, np.ndarray]) -> list[str]:
  """Returns the names, those of the widest dtypes first: all are aligned."""
  ranks = {dtype: rank for rank, dtype in enumerate(NAMES)}
  for name, array in arrays.items():
    if array.dtype not in ranks:
      raise ValueError(f"{name} has the dtype {array.dtype}")
  return sorted(arrays, key=lambda name: (-ranks[arrays[name].dtype], name))


def _header(
  arrays: Mapping[str, np.ndarray],
  order: list[str],
  metadata: Mapping[str, str] | None,
) -> bytes:
  entries: dict[str, Any] = {}
  if metadata:
    entries[ABOUT] = dict(sorted(metadata.items()))
  end = 0
  for name in order:
    array = arrays[name]
    entries[name] = {
      "dtype": NAMES[array.dtype],
      "shape": list(array.shape),
      "data_offsets": [end, end + array.nbytes],
    }
    end += array.nbytes
  text = json.dumps(entries, ensure_ascii=False, separators=(",", ":"))
  return _padded(text.encode())


def _padded(text: bytes) -> bytes:
  """Fills with spaces, so that the numbers begin at a multiple of eight."""
  return text + b" " * (-len(text) % 8)

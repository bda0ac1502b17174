"""Reader and writer of the safetensors format: a JSON header, then the data.

The first eight bytes are the size of the header, which holds the dtype, shape
and offsets of each tensor: https://github.com/huggingface/safetensors. Files
are memory-mapped: an array is a view and takes no memory until it is read.
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
from dlcore.filesystem import quoted
from dlcore.transfer.io import files

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
"""By name in the header. Writers store tensors in the reverse of this order."""

QUANTIZED = ("F4", "F6", "F8", "I4", "U4")
"""Starts of the names of dtypes of fewer than 16 bits, which need scales."""

NAMES = {dtype: name for name, dtype in DTYPES.items()}
METADATA = "__metadata__"
MAX_HEADER = 1 << 24
"""Size limit of a header in bytes; 100,000 tensors need less."""

MAX_RANK = 16
"""Limit of the number of axes of a tensor."""


class Tensor(NamedTuple):
  """Dtype, shape and byte range of a tensor, relative to the header's end."""

  dtype: np.dtype
  shape: tuple[int, ...]
  start: int
  stop: int


class File(Mapping[str, np.ndarray]):
  """The arrays of a file by name, as read-only views of the mapped file."""

  def __init__(self, path: str | Path, link_root: Path | None = None):
    """Checks the complete header and maps the file.

    Args:
      path: path of the file.
      link_root: see `files.open_plain`.

    Raises:
      UserError: the file is not plain, or its header is invalid.
    """
    self.path = Path(path)
    with files.open_plain(self.path, link_root) as file:
      try:
        self.tensors, self.metadata, self._begin = header(file)
      except ValueError as error:
        raise UserError(
          f"expected a safetensors file at {path}",
          f"got {error}",
          "download or write it again, or pass the path of the weights",
        ) from error
      self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

  def __getitem__(self, name: str) -> np.ndarray:
    """Returns a view of the mapped file."""
    tensor = self.tensors[name]
    # Frees the resident pages of tensors that were read before.
    self._bytes.madvise(mmap.MADV_DONTNEED)
    count = math.prod(tensor.shape)
    offset = self._begin + tensor.start
    array = np.frombuffer(self._bytes, tensor.dtype, count, offset)
    return array.reshape(tensor.shape)

  def __iter__(self) -> Iterator[str]:
    return iter(self.tensors)

  def __len__(self) -> int:
    return len(self.tensors)


def header(file: IO[bytes]) -> tuple[dict[str, Tensor], dict[str, str], int]:
  """Reads and checks the header of a file.

  Returns:
    The tensors by name, the metadata, and the offset in bytes of the data.

  Raises:
    ValueError: the header is invalid; the message is the reason.
    UserError: the tensors are quantized.
  """
  size = files.byte_size(file)
  if size < 8:
    raise ValueError(f"{size} bytes, too few for a header")
  begin = file.read(8)
  (length,) = struct.unpack("<Q", begin)
  if length > min(size - 8, MAX_HEADER):
    begin += file.read(8)
    if begin[8:9] != b"{":  # Not a size but the magic bytes of a format.
      raise ValueError(f"another format, which begins with {begin!r}")
    raise ValueError(
      f"a header of {length:,} bytes in a file of {size:,} (at most "
      f"{MAX_HEADER:,})"
    )
  text = file.read(length)
  if not text.startswith(b"{"):
    raise ValueError("a header that does not begin with a brace")
  entries = files.parse_json(text)
  metadata = _metadata(entries.pop(METADATA, {}))
  tensors = {name: _tensor(name, entry) for name, entry in entries.items()}
  _check_offsets(tensors, size - 8 - length)
  return tensors, metadata, 8 + length


def _metadata(entry: Any) -> dict[str, str]:
  valid = isinstance(entry, dict) and all(
    isinstance(value, str) for value in entry.values()
  )
  if not valid:
    raise ValueError(f"metadata other than strings: {quoted(entry)}")
  return entry


def _tensor(name: str, entry: Any) -> Tensor:
  """Returns a tensor from its entry in the header."""
  label = quoted(name)
  keys = {"dtype", "shape", "data_offsets"}
  if not isinstance(entry, dict) or entry.keys() != keys:
    raise ValueError(f"{label} with other keys than {', '.join(sorted(keys))}")
  dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
  if not isinstance(dtype, str) or dtype not in DTYPES:
    if str(dtype).startswith(QUANTIZED):
      raise UserError(
        "expected weights that are not quantized, such as F16, BF16 or F32",
        f"got {label} of dtype {quoted(dtype)}",
        "choose the original weights: 8 or fewer bits need scales of their own",
      )
    raise ValueError(f"{label} of dtype {quoted(dtype)}")
  if not _are_sizes(shape) or len(shape) > MAX_RANK:
    raise ValueError(f"{label} of shape {quoted(shape)}")
  if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
    raise ValueError(f"{label} at offsets {quoted(offsets)}")
  needed = math.prod(shape) * DTYPES[dtype].itemsize
  if needed != offsets[1] - offsets[0]:
    raise ValueError(
      f"{label}, {dtype} of shape {quoted(shape)}, in "
      f"{offsets[1] - offsets[0]:,} bytes"
    )
  return Tensor(DTYPES[dtype], tuple(shape), *offsets)


def _are_sizes(values: Any) -> bool:
  """Returns whether `values` is a list of integers in [0, 2**63)."""
  return isinstance(values, list) and all(
    type(value) is int and 0 <= value < 1 << 63 for value in values
  )


def _check_offsets(tensors: Mapping[str, Tensor], size: int) -> None:
  """Checks that the tensors fill `size` bytes without gaps or overlaps."""
  end = 0
  for name, tensor in sorted(
    tensors.items(), key=lambda item: (item[1].start, item[1].stop)
  ):
    if tensor.stop > size:
      raise ValueError(f"{quoted(name)} up to byte {tensor.stop:,} of {size:,}")
    if tensor.start != end:
      fault = "a gap before" if tensor.start > end else "an overlap with"
      raise ValueError(f"{fault} {quoted(name)}, at byte {end:,}")
    end = tensor.stop
  if end != size:
    raise ValueError(f"{size - end:,} bytes that belong to no tensor")


def write(
  path: str | Path,
  arrays: Mapping[str, np.ndarray],
  metadata: Mapping[str, str] | None = None,
) -> None:
  """Writes arrays atomically; equal arrays give identical bytes.

  Args:
    path: path of the file.
    arrays: by name; read one at a time.
    metadata: strings by name. Transformers requires `{"format": "pt"}`.

  Raises:
    UserError: the file cannot be written.
    ValueError: the format lacks the dtype of an array.
  """
  order = _order(arrays)
  text = _header(arrays, order, metadata)

  def write_content(file: IO[bytes]) -> None:
    file.write(struct.pack("<Q", len(text)) + text)
    for name in order:
      array = np.ascontiguousarray(arrays[name])
      file.write(array.reshape(-1).view(np.uint8).data)

  files.write(Path(path), write_content)


def _order(arrays: Mapping[str, np.ndarray]) -> list[str]:
  """Returns the names, widest dtypes first, so that all data is aligned."""
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
    entries[METADATA] = dict(sorted(metadata.items()))
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
  """Appends spaces, so that the data begins at a multiple of eight bytes."""
  return text + b" " * (-len(text) % 8)

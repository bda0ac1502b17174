"""Splits that do not fit in memory: read by index, alone or several as one."""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dlcore.data.info import DataInfo
from dlcore.data.source import Arrays, ReadRows, Source, gather
from dlcore.data.value_checks import count_classes


class Stream(NamedTuple):
  """The examples of a split that does not fit in memory."""

  read: ReadRows
  """See `Source.read`; picklable."""

  names: Sequence[str]
  """A string per example, with a hash of the content if one is known. Their
  checksum is that of the split."""

  contents: Sequence[str] | None = None
  """A hash of the content of each example, to find equal ones; None if it is
  unknown."""

  known: Arrays = {}  # noqa: RUF012  not modified
  """See `Source.known`."""


def from_stream(part: Stream, info: DataInfo) -> Source:
  """Creates a source that is read by index.

  Args:
    part: the examples.
    info: of the data set; `size`, `sha256` and `class_counts` are replaced by
      those of `part`.
  """
  digest = hashlib.sha256("\n".join(part.names).encode("utf-8", "replace"))
  info = info._replace(
    size=len(part.names),
    sha256=digest.hexdigest(),
    class_counts=count_classes(part.known, info.schema),
  )
  return Source(info.size, None, part.read, info, known=part.known)


def join_streams(
  parts: Mapping[str, Stream], rows: Mapping[str, np.ndarray | None]
) -> Stream:
  """Returns the stream of some rows of several parts, None for all of one."""
  [(part, chosen), *others] = rows.items()
  if chosen is None:
    return parts[part]
  names = [parts[part].names[int(row)] for row in chosen]
  read = functools.partial(read_rows, parts[part].read, chosen.astype(np.int32))
  for other, moved in others:
    assert moved is not None
    read = functools.partial(
      read_several,
      [read, parts[other].read],
      [np.arange(len(names), dtype=np.int32), moved.astype(np.int32)],
      np.array([0, len(names), len(names) + len(moved)]),
    )
    names += [parts[other].names[int(row)] for row in moved]
  known = gather({part: parts[part].known for part in rows}, rows)
  return Stream(read, names, known=known)


def read_rows(
  read: ReadRows, rows: np.ndarray, indices: np.ndarray
) -> dict[str, np.ndarray]:
  """Reads from the rows of a split, int32 `[N]`; see `Source.read`."""
  return read(rows[indices])


def read_several(
  reads: Sequence[ReadRows],
  rows: Sequence[np.ndarray],
  starts: np.ndarray,
  indices: np.ndarray,
) -> dict[str, np.ndarray]:
  """Reads a batch from several splits, one behind the other.

  Args:
    reads: see `Source.read`.
    rows: of each split, int32.
    starts: the position of the first row of each split, and the end.
    indices: positions `[B]`.
  """
  source_of = np.searchsorted(starts, indices, side="right") - 1
  batch: dict[str, np.ndarray] = {}
  for number in np.unique(source_of):
    at = np.flatnonzero(source_of == number)
    part = reads[number](rows[number][indices[at] - starts[number]])
    for name, array in part.items():
      if name not in batch:
        shape = (len(indices), *array.shape[1:])
        batch[name] = np.zeros(shape, array.dtype)
      batch[name][at] = array
  return batch

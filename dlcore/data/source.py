"""The `Source` contract."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from dlcore.data.info import DataInfo
from dlcore.errors import UserError

Arrays = Mapping[str, np.ndarray]
"""Arrays `[N, ...]` by name."""

ReadRows = Callable[[np.ndarray], dict[str, np.ndarray]]
"""`(indices int32[B]) -> batch`, NumPy arrays `[B, ...]` by name."""


class Source(NamedTuple):
  """Examples that can be read by index, in any order."""

  size: int
  """Number of examples, N."""

  arrays: Arrays | None
  """Arrays `[N, ...]` by name if all fit in memory, else None."""

  read: ReadRows
  """Reads a batch; picklable where worker processes call it."""

  info: DataInfo
  """Name, checksum, shapes and schema of the data."""

  lengths: np.ndarray | None = None
  """Tokens or frames of each example, int32 `[N]`, or None."""

  names: np.ndarray | None = None
  """Names `[N]`, such as that of a file, or positions in the data set before it
  was split, int64 `[N]`; None if they are unknown."""

  known: Arrays = {}  # noqa: RUF012  not modified
  """Arrays `[N, ...]` of a stream that are in memory, such as its labels."""

  def __repr__(self) -> str:
    info = self.info
    inputs = ", ".join(
      f"{name} {dtype}[{', '.join(map(str, shape))}]"
      for name, (shape, dtype) in info.inputs.items()
    )
    target = info.schema.target
    classes = len(info.schema.classes)
    if target:
      inputs += f" -> {target}" + (f" ({classes} classes)" if classes else "")
    storage = "streamed" if self.arrays is None else "in memory"
    return (
      f"Source({info.name}: {self.size:,} examples {storage}, "
      f"{inputs or 'unknown inputs'}, sha256 {info.sha256[:12]})"
    )


class Splits(NamedTuple):
  """The sources of a data set. Nothing is selected on the test split."""

  train: Source
  valid: Source | None = None
  test: Source | None = None


def with_schema(splits: Splits, **changes: Any) -> Splits:
  """Returns splits whose schemas have other values of some fields."""

  def changed(source: Source) -> Source:
    schema = dataclasses.replace(source.info.schema, **changes)
    return source._replace(info=source.info._replace(schema=schema))

  parts = splits._asdict().items()
  return Splits(**{k: changed(v) for k, v in parts if v is not None})


def check_same(
  ones: Mapping[str, Any], others: Mapping[str, Any], names: tuple[str, str]
) -> None:
  """Checks that two sources are equal in the properties that both have.

  Args:
    ones: properties by name, such as `classes`.
    others: those of the other source.
    names: of the two sources, for the message.

  Raises:
    UserError: they differ in one.
  """
  for field, one in ones.items():
    if field in others and one != others[field]:
      raise UserError(
        f"expected the same arrays and classes in {names[0]} and {names[1]}",
        f"got {field} {one} and {others[field]}",
        "convert one of them",
      )


def take_rows(arrays: Arrays, indices: np.ndarray) -> dict[str, np.ndarray]:
  """Returns rows of arrays `[N, ...]` by name."""
  return {name: array[indices] for name, array in arrays.items()}


def gather(
  parts: Mapping[str, Arrays], rows: Mapping[str, np.ndarray | None]
) -> Arrays:
  """Returns the arrays of some rows of parts, None for all of one."""
  pieces = [
    parts[part] if chosen is None else take_rows(parts[part], chosen)
    for part, chosen in rows.items()
  ]
  if len(pieces) == 1:
    return pieces[0]
  return {
    name: np.concatenate([piece[name] for piece in pieces])
    for name in pieces[0]
  }


def hash_rows(array: np.ndarray) -> list[str]:
  """Returns a hash of the bytes of every example, `array[i]`."""
  rows = np.ascontiguousarray(array).reshape(len(array), -1)
  return [hashlib.blake2b(row, digest_size=8).hexdigest() for row in rows]

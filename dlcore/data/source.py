"""What is learned from: the `Source` contract and the order of its examples."""

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlcore.errors import UserError

Arrays = Mapping[str, np.ndarray]


class Source(NamedTuple):
  """Examples that can be read by index, in any order."""

  size: int
  """Number of examples, N."""

  arrays: Arrays | None
  """Arrays `[N, ...]` by name where all fits in memory, else None."""

  read: Callable[[np.ndarray], dict[str, np.ndarray]]
  """`(indices int32[B]) -> batch`, numpy arrays `[B, ...]` by name."""

  about: Mapping[str, Any]
  """JSON data that predicting needs; see `from_arrays`."""


class Splits(NamedTuple):
  """The sources of a data set; test data decides nothing."""

  train: Source
  valid: Source | None = None
  test: Source | None = None


def from_arrays(
  arrays: Arrays, about: Mapping[str, Any] | None = None
) -> Source:
  """Makes a source of arrays in memory.

  Args:
    arrays: `[N, ...]` by name, all of one length.
    about: JSON data; what can be read from the arrays (`input`, `target`,
      `shape`, `dtype`) may be left out, `size` and `sha256` are added. The
      latter is the sum of the arrays; of streamed folders, of the names and
      bytes of the files; of streamed TFDS sets, of the names of the examples
      alone, so it does not tell another content of the same size.
      The keys in use:
      `name`: of the data set.
      `input`: the name of the input array, `"image"` or `"features"`.
      `shape`, `dtype`: of one input.
      `target`: the name of what is predicted, `"label"` or `"target"`.
      `classes`: their names in order of the label, where there are any.
      `columns`: names of the features of a table.
      `normalization`: `{"mean": [...], "std": [...]}` over train, per channel
        for images (on the scale 0 to 1), per column for tables.
      `target_normalization`: `{"mean": m, "std": s}` of a regression's target.
      `notes`: sentences that the user should read, such as what was skipped.

  Raises:
    UserError: a number is NaN or infinite, or a label is out of range.
    ValueError: the arrays differ in length.
  """
  sizes = {name: len(array) for name, array in arrays.items()}
  if len(set(sizes.values())) != 1:
    raise ValueError(f"arrays of one length expected, got {sizes}")
  size = next(iter(sizes.values()))
  about = {**_names(arrays), **(about or {})}
  check(arrays, about)
  found = {}
  if about.get("input") in arrays:
    inputs = arrays[about["input"]]
    found = {"shape": list(inputs.shape[1:]), "dtype": str(inputs.dtype)}
  return Source(
    size=size,
    arrays=arrays,
    read=functools.partial(_take, arrays),
    about={**found, **about, "size": size, "sha256": _sum(arrays)},
  )


def _names(arrays: Arrays) -> dict[str, str]:
  kinds = {"input": ("image", "features"), "target": ("label", "target")}
  return {
    kind: name for kind in kinds for name in kinds[kind] if name in arrays
  }


def check(batch: Arrays, about: Mapping[str, Any]) -> None:
  """Refuses what nothing can be learned from.

  Raises:
    UserError: a number is NaN or infinite, or a label is out of range.
  """
  where = about.get("name") or "the data"
  for name, array in batch.items():
    if array.dtype.kind == "f" and not np.isfinite(array).all():
      row, *place = (int(i) for i in np.argwhere(~np.isfinite(array))[0])
      value = array[(row, *place)]
      columns = about.get("columns")
      if columns and name == about.get("input"):
        place = [repr(columns[place[0]])]
      column = f", column {', '.join(map(str, place))}" if place else ""
      raise UserError(
        f"expected finite numbers in {where}",
        f"got {value} in {name!r}, row {row}{column}",
        "mend or drop that row",
      )
  if "label" in batch and "classes" in about:
    labels, count = batch["label"], len(about["classes"])
    wrong = np.flatnonzero((labels < 0) | (labels >= count))
    if len(wrong):
      raise UserError(
        f"expected labels from 0 to {count - 1} in {where}",
        f"got {labels[wrong[0]]} in row {wrong[0]} ({len(wrong)} such rows)",
        "mend or drop those rows",
      )


def _take(arrays: Arrays, indices: np.ndarray) -> dict[str, np.ndarray]:
  return {name: array[indices] for name, array in arrays.items()}


def _sum(arrays: Arrays) -> str:
  digest = hashlib.sha256()
  for name in sorted(arrays):
    digest.update(np.ascontiguousarray(arrays[name]))
  return digest.hexdigest()


def indices(
  seed: int, batch_index: int, size: int, batch_size: int
) -> np.ndarray:
  """Returns the examples of one batch, a pure function of its arguments.

  The epochs, each a new permutation, follow one another without a gap, so a
  batch may take the end of one and the start of the next; nothing is dropped.

  Args:
    seed: of the run.
    batch_index: which batch, from 0.
    size: number of examples in the source.
    batch_size: number of examples in a batch, B.

  Returns:
    int32 `[B]`, on the host.
  """
  start = batch_index * batch_size
  pieces = []
  while batch_size > 0:
    epoch, offset = divmod(start, size)
    piece = permutation(seed, epoch, size)[offset : offset + batch_size]
    pieces.append(piece)
    start += len(piece)
    batch_size -= len(piece)
  return np.concatenate(pieces)


@functools.lru_cache(maxsize=8)
def permutation(seed: int, epoch: int, size: int) -> np.ndarray:
  """Returns the order of an epoch, int32 `[N]`.

  It sorts raw counter-based random bits, whose stream NumPy guarantees for
  all its versions (that of `Generator.permutation` it does not).
  """
  bits = np.random.Philox(key=[seed, epoch]).random_raw(size)
  order = np.argsort(bits, kind="stable").astype(np.int32)
  order.setflags(write=False)
  return order


def hold_out(
  hashes: Sequence[str] | np.ndarray,
  labels: np.ndarray | None,
  fraction: float,
) -> np.ndarray:
  """Chooses a part of the examples by hash, the same share of every class.

  The choice depends on the content only: not on the order of the examples,
  nor on a seed, so it stays when examples are listed in another order.

  Args:
    hashes: a string per example, of its content or its name.
    labels: int `[N]`, or None where there are no classes.
    fraction: the share to choose, 0 to 1, rounded in each class.

  Returns:
    bool `[N]`, true for the chosen.
  """
  hashes = np.asarray(hashes)
  labels = np.zeros(len(hashes), np.int64) if labels is None else labels
  chosen = np.zeros(len(hashes), bool)
  for label in np.unique(labels):
    members = np.flatnonzero(labels == label)
    order = members[np.argsort(hashes[members], kind="stable")]
    chosen[order[: round(fraction * len(order))]] = True
  return chosen


def hash_rows(array: np.ndarray) -> list[str]:
  """Returns a hash of the bytes of every example, `array[i]`."""
  rows = np.ascontiguousarray(array).reshape(len(array), -1)
  return [hashlib.blake2b(row, digest_size=8).hexdigest() for row in rows]

"""Splitting of a data set into train, valid and test."""

import functools
import hashlib
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dlcore.data.holdout import divide
from dlcore.data.info import DataInfo, Inputs, Schema, describe_inputs
from dlcore.data.normalization import sample, with_statistics
from dlcore.data.order import permutation
from dlcore.data.source import Arrays, Source, Splits, from_arrays
from dlcore.errors import UserError

ON_BAD = ("error", "skip")
"""How to handle examples that cannot be read: list them, or drop them."""


def make(
  parts: Mapping[str, Arrays],
  schema: Schema,
  *,
  name: str,
  notes: Sequence[str] = (),
  hashes: Sequence[str] | np.ndarray,
  valid_fraction: float = 0.1,
  test_fraction: float = 0.0,
) -> Splits:
  """Creates the splits of a data set that fits in memory.

  A held out split may lack a rare class of train; a note reports this.

  Args:
    parts: arrays `[N, ...]` of `"train"` and, if the data set has them, of
      `"valid"` and `"test"`.
    schema: without statistics, which come from the training split.
    name: of the data set.
    notes: sentences for the user.
    hashes: a string per example of train, which decides the split.
    valid_fraction: share of train to hold out if there is no `"valid"`.
    test_fraction: share of train to hold out if there is no `"test"`.
  """
  train = parts["train"]
  labels = train.get("label")
  chosen = divide(
    hashes,
    labels,
    valid_fraction=0.0 if "valid" in parts else valid_fraction,
    test_fraction=0.0 if "test" in parts else test_fraction,
  )
  notes = [*notes, *_missing_classes(schema, chosen, labels)]
  held_out = {
    split: {name: array[rows] for name, array in train.items()}
    for split, rows in chosen.items()
  }
  parts = {**parts, **held_out}
  schema = with_statistics(schema, parts["train"])
  return Splits(
    **{
      split: from_arrays(arrays, name=name, schema=schema, notes=notes)
      for split, arrays in parts.items()
    }
  )


class Stream(NamedTuple):
  """The examples of a split that does not fit in memory."""

  read: Callable[[np.ndarray], dict[str, np.ndarray]]
  """See `Source.read`; picklable."""

  names: Sequence[str]
  """A string per example, with a hash of the content if one is known. Their
  checksum is that of the split."""


def make_streamed(
  parts: Mapping[str, Stream],
  schema: Schema,
  *,
  name: str,
  notes: Sequence[str] = (),
  hashes: Sequence[str] | np.ndarray,
  labels: np.ndarray | None,
  valid_fraction: float = 0.1,
  test_fraction: float = 0.0,
) -> Splits:
  """Creates the splits of a data set that is read by index; see `make`.

  The splits equal those of `make`; the statistics come from at most 2,000
  examples of train.
  """
  train = parts["train"]
  chosen = divide(
    hashes,
    labels,
    valid_fraction=0.0 if "valid" in parts else valid_fraction,
    test_fraction=0.0 if "test" in parts else test_fraction,
  )
  notes = [*notes, *_missing_classes(schema, chosen, labels)]
  held_out = {
    split: Stream(
      functools.partial(_read_rows, train.read, rows.astype(np.int32)),
      [train.names[int(row)] for row in rows],
    )
    for split, rows in chosen.items()
  }
  parts = {**parts, **held_out}
  some = parts["train"].read(sample(len(parts["train"].names)))
  schema = with_statistics(schema, some)
  inputs = describe_inputs(some, schema.input)
  return Splits(
    **{
      split: _streamed(part, name, inputs, notes, schema)
      for split, part in parts.items()
    }
  )


def limit(train: Source, size: int) -> Source:
  """Selects a fixed subset of the training examples.

  Every class keeps its share if the labels are in memory. The statistics are
  those of the subset.

  Args:
    train: the examples to select from.
    size: number of examples to select, more than 0.

  Raises:
    UserError: there are fewer examples.
  """
  if not 0 < size <= train.size:
    raise UserError(
      f"expected limit from 1 to {train.size}, the size of the training set",
      f"got {size}",
    )
  order = permutation(0, 0, train.size)
  labels = None if train.arrays is None else train.arrays.get("label")
  rows = np.sort(order[_stratified(labels, order, size)])
  info, lengths = train.info, train.lengths
  lengths = None if lengths is None else lengths[rows]
  if train.arrays is not None:
    arrays = {name: array[rows] for name, array in train.arrays.items()}
    return from_arrays(
      arrays,
      name=info.name,
      schema=with_statistics(info.schema, arrays),
      notes=info.notes,
      lengths=lengths,
    )
  read = functools.partial(_read_rows, train.read, rows)
  schema = with_statistics(info.schema, read(sample(size)))
  names = [f"{info.sha256} {row}" for row in rows]
  part = Stream(read, names)
  source = _streamed(part, info.name, info.inputs, info.notes, schema)
  return source._replace(lengths=lengths)


def _stratified(
  labels: np.ndarray | None, order: np.ndarray, size: int
) -> np.ndarray:
  """Returns `size` positions in `order` with the same share of each class."""
  if labels is None or labels.ndim != 1:
    return np.arange(size)
  quantile = np.empty(len(order))
  for label in np.unique(labels):
    members = np.flatnonzero(labels[order] == label)
    quantile[members] = (np.arange(len(members)) + 0.5) / len(members)
  return np.argsort(quantile, kind="stable")[:size]


def _read_rows(read, rows: np.ndarray, indices: np.ndarray):
  return read(rows[indices])


def _streamed(
  part: Stream,
  name: str,
  inputs: Inputs,
  notes: Sequence[str],
  schema: Schema,
) -> Source:
  digest = hashlib.sha256("\n".join(part.names).encode("utf-8", "replace"))
  info = DataInfo(
    name=name,
    size=len(part.names),
    sha256=digest.hexdigest(),
    inputs=inputs,
    notes=tuple(notes),
    schema=schema,
  )
  return Source(info.size, None, part.read, info)


def _missing_classes(
  schema: Schema,
  chosen: Mapping[str, np.ndarray],
  labels: np.ndarray | None,
) -> list[str]:
  """Returns notes on classes of train that a held out split lacks."""
  if labels is None or not schema.classes:
    return []
  names = dict(enumerate(schema.classes))
  return compare_classes(
    {
      split: [names.get(i, str(i)) for i in np.unique(labels[rows]).tolist()]
      for split, rows in chosen.items()
    }
  )


def compare_classes(classes: Mapping[str, Iterable[str]]) -> list[str]:
  """Returns notes on the classes of train that another split lacks.

  Args:
    classes: class names of `"train"` and of the other splits.

  Raises:
    UserError: a split has a class that train lacks.
  """
  known = set(classes["train"])
  notes = []
  for split, names in classes.items():
    unknown, missing = set(names) - known, known - set(names)
    if unknown:
      raise UserError(
        f"expected the classes of {split} to be among those of train",
        f"got {listed(map(repr, unknown))} in {split} only",
        "add examples of it to train, or remove it",
      )
    if missing:
      names = listed(map(repr, missing))
      notes.append(f"{split} has no examples of the classes {names}")
  return notes


def listed(names: Iterable[str], limit: int = 10) -> str:
  """Returns the first names in sorted order and the number of the others."""
  names = sorted(names)
  more = f" and {len(names) - limit} more" if len(names) > limit else ""
  return ", ".join(names[:limit]) + more


def split_paths(
  path: str, train: str, valid: str, test: str
) -> dict[str, pathlib.Path]:
  """Returns the file or folder of every split.

  Raises:
    UserError: both or neither of `path` and `train` are set, or `path` is
      combined with `valid` or `test`.
  """
  if bool(path) == bool(train) or (path and (valid or test)):
    raise UserError(
      "expected path, or train with optional valid and test",
      f"got {path=}, {train=}, {valid=}, {test=}",
      "set one path, or a path per split",
    )
  paths = {"train": path or train, "valid": valid, "test": test}
  return {
    name: pathlib.Path(at).expanduser() for name, at in paths.items() if at
  }

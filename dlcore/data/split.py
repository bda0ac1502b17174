"""Creation of the splits of a data set: train, valid and test.

Which examples are held out of train is decided in `holdout`.
"""

import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlcore.data.array_source import from_arrays
from dlcore.data.bad_examples import shorten
from dlcore.data.holdout import divide
from dlcore.data.info import (
  DataInfo,
  Schema,
  describe_inputs,
  describe_targets,
)
from dlcore.data.normalization import with_sampled_statistics, with_statistics
from dlcore.data.source import (
  Arrays,
  ReadRows,
  Source,
  Splits,
  check_same,
  hash_rows,
  take_rows,
)
from dlcore.data.value_checks import count_examples
from dlcore.errors import UserError, nearest


def make_splits(
  parts: Mapping[str, Arrays],
  schema: Schema,
  *,
  name: str,
  notes: Sequence[str] = (),
  hashes: Sequence[str] | np.ndarray | None = None,
  valid_fraction: float = 0.1,
  test_fraction: float = 0.0,
) -> Splits:
  """Creates the sources of all splits of a data set that fits in memory.

  Example: `make_splits({"train": {"image": images, "label": labels}},
  ImageSchema(classes=("cat", "dog")), name="pets", test_fraction=0.2)`

  Missing splits are held out of train by `hold_out`, and all sources have the
  statistics of train. A held out split may lack a rare class of train; a note
  reports this.

  Args:
    parts: arrays `[N, ...]` of `"train"` and, if the data set has them, of
      `"valid"` and `"test"`.
    schema: without statistics, which come from the training split.
    name: of the data set.
    notes: sentences for the user.
    hashes: a string per example of train, which decides the split; by default
      a hash of its arrays.
    valid_fraction: share of train to hold out if there is no `"valid"`.
    test_fraction: share of train to hold out if there is no `"test"`.

  Raises:
    UserError: a fraction is out of range or leaves a split without examples,
      or a split has another input, target or dtype; see `from_arrays` for the
      others.
  """
  for split in parts.keys() - set(Splits._fields) or {"train"} - parts.keys():
    raise UserError(
      "expected parts with 'train' and optionally 'valid' and 'test'",
      f"got {', '.join(map(repr, parts)) or 'no parts'}",
      nearest(split, Splits._fields),
    )
  parts = {
    split: {name: np.asarray(array) for name, array in arrays.items()}
    for split, arrays in parts.items()
  }
  train = parts["train"]
  size = count_examples(train, name)
  if hashes is None:
    columns = zip(*map(hash_rows, train.values()), strict=True)
    hashes = list(map("".join, columns))
  if len(hashes) != size:
    raise ValueError(f"expected {size} hashes, got {len(hashes)}")
  rows, missing = _divide(
    parts, schema, hashes, train.get("label"), valid_fraction, test_fraction
  )
  parts = {**parts, **{name: take_rows(train, rows[name]) for name in rows}}
  schema = with_statistics(schema, parts["train"])
  splits = Splits(
    **{
      split: from_arrays(
        arrays, name=name, schema=schema, notes=[*notes, *missing]
      )
      for split, arrays in parts.items()
    }
  )
  check_splits(splits)
  return share_vocabulary(splits)


def check_splits(splits: Splits) -> None:
  """Checks that all splits have the arrays and classes of train.

  Shapes may differ.

  Raises:
    UserError: the input, its dtype, the target or the classes differ.
  """
  for name, source in splits._asdict().items():
    if source:
      parts = _comparable(splits.train), _comparable(source)
      check_same(*parts, names=("train", name))


def _comparable(source: Source) -> dict[str, Any]:
  """Returns the properties in which the splits of a data set agree."""
  info = source.info
  return {
    "input": info.schema.input,
    "target": info.schema.target,
    "classes": info.schema.classes,
    "dtypes": {name: dtype for name, (_, dtype) in info.inputs.items()},
  }


def share_vocabulary(splits: Splits) -> Splits:
  """Returns `splits` with the largest `vocab_size` of all in every schema."""
  sources = {name: part for name, part in splits._asdict().items() if part}
  sizes = [part.info.schema.vocab_size or 0 for part in sources.values()]
  if not any(sizes):
    return splits
  for name, part in sources.items():
    schema = dataclasses.replace(part.info.schema, vocab_size=max(sizes))
    sources[name] = part._replace(info=part.info._replace(schema=schema))
  return Splits(**sources)


class Stream(NamedTuple):
  """The examples of a split that does not fit in memory."""

  read: ReadRows
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
  """Creates the splits of a data set that is read by index; see `make_splits`.

  The splits equal those of `make_splits`; the statistics come from at most
  2,000 examples of train.
  """
  train = parts["train"]
  rows, missing = _divide(
    parts, schema, hashes, labels, valid_fraction, test_fraction
  )
  held_out = {
    split: Stream(
      functools.partial(read_rows, train.read, chosen.astype(np.int32)),
      [train.names[int(row)] for row in chosen],
    )
    for split, chosen in rows.items()
  }
  parts = {**parts, **held_out}
  kept = parts["train"]
  schema, first = with_sampled_statistics(schema, kept.read, len(kept.names))
  inputs = describe_inputs(first, schema.input)
  info = DataInfo(
    name=name,
    size=0,
    sha256="",
    inputs=inputs,
    notes=(*notes, *missing),
    schema=schema,
    targets=describe_targets(first, inputs),
  )
  return Splits(
    **{split: from_stream(part, info) for split, part in parts.items()}
  )


def read_rows(
  read: ReadRows, rows: np.ndarray, indices: np.ndarray
) -> dict[str, np.ndarray]:
  """Reads from the rows of a split, int32 `[N]`; see `Source.read`."""
  return read(rows[indices])


def from_stream(part: Stream, info: DataInfo) -> Source:
  """Creates a source that is read by index.

  Args:
    part: the examples.
    info: of the data set; `size` and `sha256` are replaced by those of `part`.
  """
  digest = hashlib.sha256("\n".join(part.names).encode("utf-8", "replace"))
  info = info._replace(size=len(part.names), sha256=digest.hexdigest())
  return Source(info.size, None, part.read, info)


def _divide(
  parts: Mapping[str, Any],
  schema: Schema,
  hashes: Sequence[str] | np.ndarray,
  labels: np.ndarray | None,
  valid_fraction: float,
  test_fraction: float,
) -> tuple[dict[str, np.ndarray], list[str]]:
  """Returns the rows of train and of the splits that are held out of it.

  The second result has notes on a single class, and on classes of train that
  such a split lacks.
  """
  rows = divide(
    hashes,
    labels,
    valid_fraction=0.0 if "valid" in parts else valid_fraction,
    test_fraction=0.0 if "test" in parts else test_fraction,
  )
  notes = []
  if len(schema.classes) == 1:
    notes.append(f"all examples have the class {schema.classes[0]!r}")
  if labels is None or labels.ndim != 1 or not schema.classes:
    return rows, notes
  names = dict(enumerate(schema.classes))
  classes = {
    split: [names.get(i, str(i)) for i in np.unique(labels[chosen]).tolist()]
    for split, chosen in rows.items()
  }
  return rows, [*notes, *compare_classes(classes)]


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
        f"got {shorten(sorted(map(repr, unknown)))} in {split} only",
        "add examples of it to train, or remove it",
      )
    if missing:
      listed = shorten(sorted(map(repr, missing)))
      notes.append(f"{split} has no examples of the classes {listed}")
  return notes


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

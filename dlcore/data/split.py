"""Creation of the splits of a data set: train, valid and test.

`split_plan` decides which examples a split consists of.
"""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlcore.data.array_source import from_arrays
from dlcore.data.duplicates import hash_examples
from dlcore.data.info import (
  TOKENS,
  DataInfo,
  Schema,
  describe_inputs,
  describe_targets,
)
from dlcore.data.normalization import with_sampled_statistics, with_statistics
from dlcore.data.source import Arrays, Splits, gather
from dlcore.data.split_checks import (
  check_splits,
  compare_classes,
  share_vocabulary,
)
from dlcore.data.split_columns import Column
from dlcore.data.split_plan import (
  Hashes,
  Plan,
  make_plan,
  name_examples,
)
from dlcore.data.stream import Stream, from_stream, join_streams
from dlcore.data.value_checks import count_examples
from dlcore.errors import UserError, nearest


def make_splits(
  parts: Mapping[str, Arrays],
  schema: Schema,
  *,
  name: str,
  notes: Sequence[str] = (),
  hashes: Hashes | None = None,
  names: Mapping[str, Column] | None = None,
  valid_fraction: float = 0.1,
  test_fraction: float = 0.0,
  stratify: Column | bool | None = None,
  groups: Column | None = None,
  times: Column | None = None,
  assigned: Column | None = None,
  folds: int = 0,
  fold: int = 0,
  duplicates: str = "keep",
) -> Splits:
  """Creates the sources of all splits of a data set that fits in memory.

  Example: `make_splits({"train": {"image": images, "label": labels}},
  ImageSchema(classes=("cat", "dog")), name="pets", test_fraction=0.2)`

  Missing splits are held out of train by `assign`, and all sources have the
  statistics of train. Equal rows of token ids share a split. A held out split
  may lack a rare class of train; a note reports this. Another note counts the
  examples that are in several splits.

  Args:
    parts: arrays `[N, ...]` of `"train"` and, if the data set has them, of
      `"valid"` and `"test"`.
    schema: without statistics, which come from the training split.
    name: of the data set.
    notes: sentences for the user.
    hashes: a string per example of train, which decides the split; by default
      a hash of its arrays.
    names: by part, a name for each example, such as that of its file; by
      default its position.
    valid_fraction: share of train to hold out if there is no `"valid"`.
    test_fraction: share of train to hold out if there is no `"test"`.
    stratify: values `[N]` of train whose shares are equal in all splits; by
      default the labels of a classification, and False for none.
    groups: text or numbers `[N]` of train; examples of one group, such as a
      patient, stay in one split.
    times: numbers or dates `[N]` of train; the latest examples are test, those
      before them valid.
    assigned: names `[N]` of the splits of train's examples, see `SPLIT_NAMES`.
    folds: number of folds of a cross-validation of train, or 0. A `"test"` is
      then left out.
    fold: the fold that is test; the next one is valid, see `assign`.
    duplicates: `"move"` moves the examples that occur in several splits to
      train.

  Raises:
    UserError: a setting is out of range or leaves a split without examples, a
      column is malformed, or a split has another input, target or dtype; see
      `from_arrays` for the others.
  """
  _check_parts(parts)
  parts = {
    split: {name: np.asarray(array) for name, array in arrays.items()}
    for split, arrays in parts.items()
  }
  train = parts["train"]
  sizes = {part: count_examples(rows, name) for part, rows in parts.items()}
  own_hashes = hash_examples(train, train) if hashes is None else hashes
  if len(own_hashes) != sizes["train"]:
    raise ValueError(f"expected {sizes['train']} hashes, got {len(own_hashes)}")

  def contents(part: str) -> Hashes:
    by_content = part == "train" and hashes is None
    return own_hashes if by_content else hash_examples(parts[part], train)

  labels = train.get("label")
  plan = make_plan(
    own_hashes,
    labels,
    list(parts),
    contents,
    valid_fraction=valid_fraction,
    test_fraction=test_fraction,
    stratify=stratify,
    groups=groups,
    times=times,
    assigned=assigned,
    folds=folds,
    fold=fold,
    duplicates=duplicates,
    together=TOKENS in train,
  )
  arrays = {split: gather(parts, rows) for split, rows in plan.rows.items()}
  schema = with_statistics(schema, arrays["train"])
  classes = describe_classes(plan, labels, schema.classes)
  notes = [*notes, *plan.notes, *classes]
  splits = Splits(
    **{
      split: from_arrays(part, name=name, schema=schema, notes=notes)
      for split, part in arrays.items()
    }
  )
  check_splits(splits)
  return share_vocabulary(name_examples(splits, plan, names or {}, sizes))


def make_streamed(
  parts: Mapping[str, Stream],
  schema: Schema,
  *,
  name: str,
  notes: Sequence[str] = (),
  hashes: Hashes,
  labels: np.ndarray | None = None,
  names: Mapping[str, Column] | None = None,
  **rule: Any,
) -> Splits:
  """Creates the splits of a data set that is read by index; see `make_splits`.

  The splits equal those of `make_splits`, which describes the arguments `rule`
  as well; the statistics come from at most 2,000 examples of train. `labels`
  are those of the part `"train"`, by default its known ones.
  """
  if labels is None:
    labels = parts["train"].known.get("label")
  plan = make_plan(
    hashes, labels, list(parts), lambda part: parts[part].contents, **rule
  )
  streams = {
    split: join_streams(parts, rows) for split, rows in plan.rows.items()
  }
  train = streams["train"]
  schema, first = with_sampled_statistics(schema, train.read, len(train.names))
  inputs = describe_inputs(first, schema.input)
  classes = describe_classes(plan, labels, schema.classes)
  info = DataInfo(
    name=name,
    size=0,
    sha256="",
    inputs=inputs,
    notes=(*notes, *plan.notes, *classes),
    schema=schema,
    targets=describe_targets(first, inputs),
  )
  splits = Splits(
    **{split: from_stream(part, info) for split, part in streams.items()}
  )
  sizes = {part: len(stream.names) for part, stream in parts.items()}
  return name_examples(splits, plan, names or {}, sizes)


def _check_parts(parts: Mapping[str, Arrays]) -> None:
  for split in parts.keys() - set(Splits._fields) or {"train"} - parts.keys():
    raise UserError(
      "expected parts with 'train' and optionally 'valid' and 'test'",
      f"got {', '.join(map(repr, parts)) or 'no parts'}",
      nearest(split, Splits._fields),
    )


def describe_classes(
  plan: Plan, labels: np.ndarray | None, classes: Sequence[str]
) -> list[str]:
  """Returns notes on a single class, and on classes that a split lacks."""
  notes = []
  if len(classes) == 1:
    notes.append(f"all examples have the class {classes[0]!r}")
  if labels is None or labels.ndim != 1 or not classes:
    return notes
  names = dict(enumerate(classes))
  found = {
    split: [names.get(i, str(i)) for i in np.unique(labels[rows]).tolist()]
    for split, rows in plan.of_train().items()
  }
  return notes + compare_classes(found, strict=plan.keeps_classes)


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
    name: pathlib.Path(os.path.expanduser(at))
    for name, at in paths.items()
    if at
  }

"""Checks and properties that the splits of a data set share."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from dlcore.data.bad_examples import shorten
from dlcore.data.source import Source, Splits, check_same
from dlcore.errors import UserError


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


def compare_classes(
  classes: Mapping[str, Iterable[str]], *, strict: bool = True
) -> list[str]:
  """Returns notes on the classes that one split has and another lacks.

  Args:
    classes: class names of `"train"` and of the other splits.
    strict: whether train must have the classes of all others, as those of its
      files. Folds, groups and the order of time may leave one out.

  Raises:
    UserError: a split has a class that train lacks, and `strict` is true.
  """
  known = set(classes["train"])
  notes = []
  for split, names in classes.items():
    unknown = shorten(sorted(map(repr, set(names) - known)))
    missing = shorten(sorted(map(repr, known - set(names))))
    if unknown and strict:
      raise UserError(
        f"expected the classes of {split} to be among those of train",
        f"got {unknown} in {split} only",
        "add examples of it to train, or remove it",
      )
    if unknown:
      notes.append(f"train has no examples of the classes {unknown} of {split}")
    if missing:
      notes.append(f"{split} has no examples of the classes {missing}")
  return notes

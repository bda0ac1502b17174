"""The arrays that describe the data of a run: class counts and examples.

They are written when a run begins, for the section "About the data".
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dlcore import report_arrays, storage
from dlcore.data import Schema, Source
from dlcore.data.info import IGNORED, LABELS
from dlcore.data.source import Arrays
from dlcore.report.png import thumbnail
from dlcore.report_arrays import DATA_COUNTS, DATA_LENGTHS, DATA_TARGETS

NAME = "assets/data_examples.npz"

MAX_CLASSES = 12
"""Number of classes with examples: the most frequent ones."""

MAX_PER_CLASS = 8
MAX_EXAMPLES = 96
MAX_OTHERS = 24
"""Number of examples of data without classes."""

SAMPLE = 256
"""Number of examples of a stream that are read to find some of each class."""

MAX_TARGETS = 10_000
MAX_FEATURES = 4096
MAX_NAME = 200
MAX_TEXT = 400
"""Characters of a text."""

logger = logging.getLogger("dlcore")


def write_data(workdir: Path, splits: Mapping[str, Source]) -> None:
  """Writes class counts, targets and examples of the data of a run.

  A failure is a warning: an own source may hold arrays of any kind.

  Args:
    workdir: the run folder.
    splits: the sources by name; the examples are those of `"train"`.
  """
  try:
    arrays = describe_data(splits)
  except Exception as error:  # Examples must not cost the run.
    logger.warning("the report omits examples of the data: %r", error)
    return
  storage.write_file(
    workdir,
    NAME,
    lambda file: np.savez_compressed(file, allow_pickle=False, **arrays),
  )


def describe_data(splits: Mapping[str, Source]) -> dict[str, np.ndarray]:
  """Returns the arrays of `report_arrays` that describe the data.

  Args:
    splits: the sources by name; the examples are those of `"train"`.
  """
  arrays = {}
  for split, source in splits.items():
    counts = np.asarray(source.info.class_counts, np.int64)
    if counts.any():
      arrays[f"{DATA_COUNTS}{split}"] = counts
    targets = _targets(source.arrays or {}, source.info.schema)
    if targets is not None and not source.info.schema.classes:
      stride = -(-len(targets) // MAX_TARGETS)
      arrays[f"{DATA_TARGETS}{split}"] = targets[::stride].astype(np.float32)
    if source.lengths is not None:
      stride = -(-source.size // MAX_TARGETS)
      arrays[f"{DATA_LENGTHS}{split}"] = source.lengths[::stride]
  train = splits["train"].info
  if train.schema.input and train.schema.input not in train.inputs:
    return arrays  # Features, which are computed from examples.
  return arrays | _examples(splits["train"])


def _targets(arrays: Arrays, schema: Schema) -> np.ndarray | None:
  """Returns the labels or numbers `[N]`, or several labels `[N, C]`."""
  targets = arrays.get(schema.target)
  if targets is None or targets.dtype.kind not in "biuf":
    return None
  if targets.shape[1:] == (1,) and not schema.multilabel:
    targets = targets[:, 0]
  axes = 2 if schema.multilabel else 1
  return targets if targets.ndim == axes else None


def _examples(train: Source) -> dict[str, np.ndarray]:
  """Returns inputs of some examples, and their labels or targets."""
  schema, rows = train.info.schema, np.arange(train.size)
  if not schema.input or not train.size:
    return {}
  arrays = train.arrays
  if arrays is None:  # All labels are unknown: some are read.
    rows = spread(rows, SAMPLE)
    arrays = train.read(rows.astype(np.int32))
  targets = _targets(arrays, schema)
  rows = rows[_choose(targets, len(schema.classes), schema.multilabel, rows)]
  batch = train.read(rows.astype(np.int32))
  inputs = np.asarray(schema.display(batch))
  if inputs.dtype.kind == "U" and schema.target == LABELS and schema.classes:
    inputs = _with_tags(inputs, batch[LABELS], schema)
  result = {"data/input": _small(inputs)}
  if train.names is not None and train.names.dtype.kind == "U":
    result["data/name"] = train.names[rows].astype(f"U{MAX_NAME}")
  chosen = _targets(batch, schema)
  if chosen is None:
    return result
  if schema.multilabel:
    names = np.array(schema.classes)
    listed = [", ".join(names[row > 0.5])[:MAX_NAME] for row in chosen]
    result["data/label"] = np.array(listed, str)
  elif schema.classes:
    result["data/label"] = chosen.astype(np.int32)
  else:
    result["data/target"] = chosen.astype(np.float32)
  return result


def _with_tags(
  texts: np.ndarray, labels: np.ndarray, schema: Schema
) -> np.ndarray:
  """Returns the texts with their tags, such as "the/O cat/B-ANIMAL".

  Args:
    texts: strings `[M]` of tokens that are separated by spaces.
    labels: int `[M, T]`.
    schema: with the classes.
  """
  ends = {IGNORED: "", **{i: f"/{tag}" for i, tag in enumerate(schema.classes)}}
  return np.array(
    [
      " ".join(
        token + ends[label]
        for token, label in zip(text.split(" "), row, strict=False)
      )
      for text, row in zip(texts.tolist(), labels.tolist(), strict=True)
    ]
  )


def _choose(
  targets: np.ndarray | None, classes: int, multilabel: bool, rows: np.ndarray
) -> np.ndarray:
  """Returns the positions of examples to show, at most `MAX_EXAMPLES`.

  Of classes, the first ones of the most frequent; of numbers, those from the
  lowest to the highest; of others, some at equal distances.
  """
  positions = np.arange(len(rows))
  if targets is None or targets.ndim != 1 or multilabel:
    return spread(positions, MAX_OTHERS)
  if not classes:
    return spread(np.argsort(targets, kind="stable"), MAX_OTHERS)
  known = targets[targets >= 0].astype(np.int64)
  counts = np.bincount(known, minlength=classes)
  shown = np.argsort(-counts, kind="stable")[
    : min(MAX_CLASSES, (counts > 0).sum())
  ]
  limit = min(MAX_PER_CLASS, MAX_EXAMPLES // len(shown))
  chosen = [np.flatnonzero(targets == label)[:limit] for label in sorted(shown)]
  return np.concatenate(chosen)


def spread(values: np.ndarray, count: int) -> np.ndarray:
  """Returns up to `count` of the values at equal distances."""
  picks = np.linspace(0, len(values) - 1, min(count, len(values)))
  return values[picks.astype(int)]


def _small(inputs: np.ndarray) -> np.ndarray:
  """Returns inputs for `report_arrays`, of limited size."""
  inputs = report_arrays.displayable(inputs)
  if inputs.ndim == 4:
    pictures = np.stack([thumbnail(image) for image in inputs])
    return pictures[..., None] if pictures.ndim == 3 else pictures
  if inputs.ndim == 1:
    return (
      inputs.astype(f"U{MAX_TEXT}")
      if inputs.dtype.kind == "U"
      else inputs[:, None]
    )
  return inputs.reshape(len(inputs), -1)[:, :MAX_FEATURES]

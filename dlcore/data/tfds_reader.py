"""Reads the prepared records of TensorFlow Datasets by index."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from dlcore.data import images, split, tfds_prepare
from dlcore.data.source import check
from dlcore.errors import UserError, lookup

SPLITS = {"train": "train", "validation": "valid", "test": "test"}
"""Names of the splits: TFDS's and ours."""


class Reader:
  """Reads examples of one split by position, decoded.

  It opens the records when it first reads, so that it travels to the worker
  processes of a loader as a few strings.
  """

  def __init__(
    self, about: Mapping[str, Any], wanted, tfds_split: str, size: int
  ):
    self.about = about
    self.wanted = wanted
    self.split = tfds_split
    self.size = size
    self.records: Any = None

  def __len__(self) -> int:
    return self.size

  def __getstate__(self):
    return {**vars(self), "records": None}

  def __call__(self, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the batch of some rows; see `Source.read`."""
    examples = self.examples(rows)
    about = self.about
    inputs = np.stack([self._input(example) for example in examples])
    targets = np.asarray(
      [example[self.wanted["target_feature"]] for example in examples],
      np.int32 if about["target"] == "label" else np.float32,
    )
    batch = {about["input"]: inputs, about["target"]: targets}
    check(batch, about)
    return batch

  def labels(self) -> np.ndarray | None:
    """Returns the labels of all examples, int32 `[N]`; decodes no image."""
    if self.about["target"] != "label":
      return None
    name = self.wanted["target_feature"]
    found = [
      example[name] for rows in self.pieces() for example in self.examples(rows)
    ]
    return np.asarray(found, np.int32)

  def names(self) -> list[str]:
    """Returns a name of every example."""
    start = f"{self.about['name']}/{self.split}"
    return [f"{start}/{row}" for row in range(self.size)]

  def pieces(self) -> list[np.ndarray]:
    """Returns all rows, a thousand at a time."""
    return np.split(np.arange(self.size), range(1000, self.size, 1000))

  def examples(self, rows: np.ndarray) -> list[dict[str, Any]]:
    """Returns the features of some rows, images as they are encoded."""
    records = self._open()
    try:
      return records.__getitems__([int(row) for row in rows])
    except (RuntimeError, ValueError, IndexError, OSError) as error:
      raise UserError(
        f"expected readable records of {self.about['name']}, {self.split}",
        f"got: {_line(error)}",
        f"delete its folder in {self.wanted['data_dir']}; it is prepared again",
      ) from error

  def _input(self, example: Mapping[str, Any]) -> np.ndarray:
    value = example[self.wanted["input_feature"]]
    if self.about["input"] == "image":
      return images.decode(value, self.about["shape"])
    return np.asarray(value, np.float32).reshape(-1)

  def _open(self) -> Any:
    if self.records is None:
      import tensorflow_datasets as tfds

      builder: Any = tfds_prepare.prepared(
        self.wanted["builder"],
        data_dir=pathlib.Path(self.wanted["data_dir"]),
        download=False,
      )
      skipped = {self.wanted["input_feature"]: tfds.decode.SkipDecoding()}
      decoders = skipped if self.about["input"] == "image" else None
      self.records = builder.as_data_source(self.split, decoders=decoders)
    return self.records


def open_readers(
  builder, wanted: Mapping[str, Any]
) -> tuple[dict[str, Reader], dict[str, Any]]:
  """Returns the reader of each split, and what there is to say of all."""
  about, wanted = _describe(builder, wanted)
  sizes = {
    name: info.num_examples for name, info in builder.info.splits.items()
  }
  if "train" not in sizes:
    raise UserError(
      f"expected {about['name']} to have a train split", f"got {sorted(sizes)}"
    )
  readers = {
    ours: Reader(about, wanted, theirs, sizes[theirs])
    for theirs, ours in SPLITS.items()
    if sizes.get(theirs)
  }
  for reader in readers.values():
    _check_records(reader, builder)
  if about["target"] == "label" and "test" in readers:
    # Some test splits come without labels, which TFDS writes as -1.
    some = split.sample(len(readers["test"]), 64)
    target = wanted["target_feature"]
    if all(one[target] < 0 for one in readers["test"].examples(some)):
      del readers["test"]
  return readers, about


def _check_records(reader: Reader, builder) -> None:
  todo = f"delete {builder.data_dir}; it is prepared again"
  expected = (
    f"expected {len(reader)} records in {reader.split} of {builder.name}"
  )
  try:
    found = len(reader._open())
  except NotImplementedError as error:
    raise UserError(
      f"expected {builder.name} prepared as array_record",
      f"got {builder.info.file_format} in {builder.data_dir}",
      "give another data.data_dir, where it is prepared again",
    ) from error
  except (OSError, RuntimeError, ValueError) as error:
    raise UserError(expected, f"got: {_line(error)}", todo) from error
  if found != len(reader):
    raise UserError(expected, f"got {found}", todo)


def _line(error: Exception) -> str:
  return " ".join(str(error).split()) or repr(error)


def _describe(
  builder, wanted: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns `about` of the data set, and `wanted` with the features' names."""
  import tensorflow_datasets as tfds

  info: Any = builder.info
  keys = info.supervised_keys or ("image", "label")
  names = {
    "input_feature": wanted["input_feature"] or keys[0],
    "target_feature": wanted["target_feature"] or keys[1],
  }
  features: dict[str, Any] = {
    setting: lookup(dict(info.features), name, f"feature of {info.name}")
    for setting, name in names.items()
  }
  source: Any = features["input_feature"]
  target: Any = features["target_feature"]
  if isinstance(source, tfds.features.Image):
    size = wanted["image_size"]
    height, width, channels = source.shape  # pyright: ignore
    shape = [size or height, size or width, 1 if channels == 1 else 3]
    kind, dtype = "image", "uint8"
  else:
    shape, kind, dtype = list(source.shape or ()), "features", "float32"
  if isinstance(source, (tfds.features.Text, tfds.features.FeaturesDict)) or (
    shape and None in shape[2:]
  ):
    raise UserError(
      f"expected an image or a tensor of numbers in {info.name}",
      f"got {source}",
      "name another one with data.input_feature",
    )
  if None in shape:
    raise UserError(
      f"expected data.image_size, as the images of {info.name} differ in size",
      "got 0",
      "for example data.image_size=224",
    )
  about = {
    "name": info.name,
    "input": kind,
    "shape": shape if kind == "image" else [int(np.prod(shape))],
    "dtype": dtype,
    "target": "target",
  }
  if isinstance(target, tfds.features.ClassLabel):
    about |= {"target": "label", "classes": list(target.names)}
  return about, {**wanted, **names}

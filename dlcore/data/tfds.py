"""Data sets by their tensorflow-datasets names, read without TensorFlow."""

import concurrent.futures
import functools
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from dlcore.data import cache, images, split, tfds_prepare
from dlcore.data.source import Arrays, Source, Splits, check
from dlcore.errors import UserError, lookup

IN_MEMORY_LIMIT = 2 << 30
"""Bytes up to which a decoded data set is held in memory."""

SPLITS = {"train": "train", "validation": "valid", "test": "test"}
"""Names of the splits: TFDS's and ours."""


def tfds_source(
  builder: str,
  /,
  *,
  input_feature: str = "",
  target_feature: str = "",
  data_dir: str = "",
  manual_dir: str = "",
  download: bool = True,
  verify: bool = True,
  image_size: int = 0,
  valid_fraction: float = 0.1,
  in_memory_limit: int = IN_MEMORY_LIMIT,
  cache_dir: str = "",
) -> Splits:
  """Loads a data set of tensorflow-datasets; prepares it where it is not yet.

  What fits in memory is decoded once and kept (see `cache`), and found again
  without importing TFDS. Larger sets are read by index.

  Args:
    builder: as TFDS writes it: `"mnist"`, `"name/config:1.0.0"`.
    input_feature: an image or a tensor of numbers; by default as the builder's
      `supervised_keys` say.
    target_feature: a class label or a number; likewise.
    data_dir: where TFDS keeps what it prepared; by default `$TFDS_DATA_DIR` or
      `~/tensorflow_datasets`.
    manual_dir: folder with the original files, used in place of downloads.
      ImageNet needs it, with `ILSVRC2012_img_train.tar` and
      `ILSVRC2012_img_val.tar`.
    download: whether what is not there may be downloaded.
    verify: False takes files from `manual_dir` whose checksums differ.
    image_size: rows and columns to bring images to, 0 to leave them; needed
      where they differ in size.
    valid_fraction: share of train to hold out where there is no validation
      split, the same of every class; 0 for none.
    in_memory_limit: bytes; a larger set is streamed.
    cache_dir: see `cache.splits`.

  Raises:
    UserError: the data cannot be had or is not as it must be.
  """
  home = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
  root = pathlib.Path(home).expanduser()
  # Only the folder of this data set: others may be prepared beside it.
  folder = root / builder.split("/")[0].split(":")[0]
  wanted = dict(
    builder=builder,
    data_dir=os.path.abspath(root),
    input_feature=input_feature,
    target_feature=target_feature,
    image_size=image_size,
  )

  def build() -> Splits:
    prepared = tfds_prepare.prepared(
      builder,
      data_dir=root,
      manual_dir=manual_dir,
      download=download,
      verify=verify,
    )
    readers, about = _readers(prepared, wanted)
    size = sum(map(len, readers.values())) * int(np.prod(about["shape"]))
    size *= np.dtype(about["dtype"]).itemsize
    make = _in_memory if size <= in_memory_limit else _streamed
    return make(readers, about, valid_fraction)

  return cache.splits(
    build,
    name=folder.name,
    key={**wanted, "valid_fraction": valid_fraction},
    files=lambda: [path for path in folder.rglob("*") if path.is_file()],
    folder=cache_dir,
    most=in_memory_limit,
  )


def tfds_builder(
  *,
  builder: str = "",
  input_feature: str = "",
  target_feature: str = "",
  data_dir: str = "",
  manual_dir: str = "",
  download: bool = True,
  verify: bool = True,
  image_size: int = 0,
  valid_fraction: float = 0.1,
  in_memory_limit: int = IN_MEMORY_LIMIT,
  cache_dir: str = "",
) -> Splits:
  """Loads any data set of tensorflow-datasets; see `tfds_source`."""
  if not builder:
    raise UserError(
      "expected data.builder to name a data set of tensorflow-datasets",
      "got nothing",
      "for example data.builder=mnist",
    )
  settings = dict(locals())
  return tfds_source(settings.pop("builder"), **settings)


class _Reader:
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
    self.records = None

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
      [example[name] for example in self.examples(rows)]
      for rows in _pieces(self.size)
    ]
    return np.asarray(sum(found, []), np.int32)

  def examples(self, rows: np.ndarray) -> list[dict[str, Any]]:
    """Returns the features of some rows, images as they are encoded."""
    records = self._open()
    try:
      return records.__getitems__([int(row) for row in rows])
    except (RuntimeError, ValueError, IndexError, OSError) as error:
      raise UserError(
        f"expected readable records of {self.about['name']}, {self.split}",
        f"got: {str(error).splitlines()[0] if str(error) else error!r}",
        f"delete its folder in {self.wanted['data_dir']}; it is prepared again",
      ) from error

  def _input(self, example: Mapping[str, Any]) -> np.ndarray:
    value = example[self.wanted["input_feature"]]
    if self.about["input"] == "image":
      return images.decode(value, self.about["shape"])
    return np.asarray(value, np.float32).reshape(-1)

  def _open(self):
    if self.records is None:
      import tensorflow_datasets as tfds

      builder = tfds_prepare.prepared(
        self.wanted["builder"],
        data_dir=pathlib.Path(self.wanted["data_dir"]),
        download=False,
      )
      skipped = {self.wanted["input_feature"]: tfds.decode.SkipDecoding()}
      decoders = skipped if self.about["input"] == "image" else None
      self.records = builder.as_data_source(self.split, decoders=decoders)
    return self.records


def _readers(
  builder, wanted: dict[str, Any]
) -> tuple[dict[str, _Reader], dict[str, Any]]:
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
    ours: _Reader(about, wanted, theirs, sizes[theirs])
    for theirs, ours in SPLITS.items()
    if sizes.get(theirs)
  }
  for reader in readers.values():
    _check_records(reader, builder)
  if about["target"] == "label" and "test" in readers:
    # Some test splits come without labels, which TFDS writes as -1.
    first = readers["test"].examples(
      sample := split.sample(len(readers["test"]), 64)
    )
    if all(example[wanted["target_feature"]] < 0 for example in first):
      del readers["test"], sample
  return readers, about


def _check_records(reader: _Reader, builder) -> None:
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
  except Exception as error:
    raise UserError(expected, f"got: {error}", todo) from error
  if found != len(reader):
    raise UserError(expected, f"got {found}", todo)


def _describe(
  builder, wanted: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns `about` of the data set, and `wanted` with the features' names."""
  import tensorflow_datasets as tfds

  info = builder.info
  keys = info.supervised_keys or ("image", "label")
  names = {
    "input_feature": wanted["input_feature"] or keys[0],
    "target_feature": wanted["target_feature"] or keys[1],
  }
  features = {
    setting: lookup(dict(info.features), name, f"feature of {info.name}")
    for setting, name in names.items()
  }
  source, target = features["input_feature"], features["target_feature"]
  if isinstance(source, tfds.features.Image):
    size = wanted["image_size"]
    shape = [size, size, source.shape[2]] if size else list(source.shape)
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


def _in_memory(
  readers: Mapping[str, _Reader], about: Mapping[str, Any], fraction: float
) -> Splits:
  return split.make(
    {name: _decode(reader) for name, reader in readers.items()},
    about,
    # By position: TFDS's order of the examples is fixed.
    hashes=split.hash_names(map(str, range(len(readers["train"])))),
    valid_fraction=fraction,
  )


def _decode(reader: _Reader) -> Arrays:
  """Reads all of a split, a thousand examples at a time in a few threads."""
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
    pieces = list(threads.map(reader, _pieces(len(reader))))
  return {
    name: np.concatenate([piece[name] for piece in pieces])
    for name in pieces[0]
  }


def _pieces(size: int) -> list[np.ndarray]:
  return np.split(np.arange(size), range(1000, size, 1000))


def _streamed(
  readers: Mapping[str, _Reader], about: Mapping[str, Any], fraction: float
) -> Splits:
  train = readers["train"]
  held_out = 0.0 if "valid" in readers else fraction
  chosen = split.divide(
    split.hash_names(map(str, range(len(train)))),
    train.labels() if held_out else None,
    valid_fraction=held_out,
    test_fraction=0.0,
  )
  parts = {
    name: (reader, np.arange(len(reader))) for name, reader in readers.items()
  }
  parts |= {name: (train, rows) for name, rows in chosen.items()}
  sources = {
    name: functools.partial(_read_rows, reader, rows.astype(np.int32))
    for name, (reader, rows) in parts.items()
  }
  some = split.sample(len(chosen["train"]))
  about = {**about, **split.statistics(sources["train"](some))}
  return Splits(
    **{
      name: split.streamed(_identities(*parts[name]), read, about)
      for name, read in sources.items()
    }
  )


def _identities(reader: _Reader, rows: np.ndarray) -> list[str]:
  return [f"{reader.about['name']}/{reader.split}/{row}" for row in rows]


def _read_rows(reader: _Reader, rows: np.ndarray, indices: np.ndarray):
  return reader(rows[indices])

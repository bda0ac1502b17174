"""Loading of data sets by their names in tensorflow-datasets."""

import concurrent.futures
import functools
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from dlcore.data import cache, holdout, split
from dlcore.data.source import Arrays, Splits
from dlcore.data.split_settings import SplitSettings
from dlcore.data.tfds.location import Location
from dlcore.data.tfds.record_reader import Reader, open_readers

IN_MEMORY_LIMIT = 2 << 30
"""Bytes up to which a decoded data set is in memory."""

LARGE = 64 * 64 * 3
"""Values in an image from which decoding in threads is faster."""


def tfds_source(
  builder: str = "",
  /,
  *,
  input_feature: str = "",
  target_feature: str = "",
  data_dir: str = "",
  manual_dir: str = "",
  download: bool = True,
  verify: bool = True,
  image_size: int = 0,
  value_range: tuple = (),
  valid_fraction: float = 0.1,
  folds: int = 0,
  fold: int = 0,
  in_memory_limit: int = IN_MEMORY_LIMIT,
  cache_dir: str = "",
) -> Splits:
  """Loads a data set of tensorflow-datasets and prepares it if necessary.

  A data set that fits in memory is decoded once and cached (see `cache`); the
  cache is read without importing TFDS. Larger ones are read by index.

  Args:
    builder: name in the notation of TFDS: `"mnist"`, `"name/config:1.0.0"`.
    input_feature: an image or a numeric tensor; by default the first of the
      builder's `supervised_keys`.
    target_feature: a class label or a number; by default the second.
    data_dir: folder of prepared data sets; by default `$TFDS_DATA_DIR` or
      `~/tensorflow_datasets`.
    manual_dir: folder with the original files, used in place of downloads.
      ImageNet needs it, with `ILSVRC2012_img_train.tar` and
      `ILSVRC2012_img_val.tar`.
    download: whether missing files may be downloaded.
    verify: False accepts files in `manual_dir` whose checksums differ.
    image_size: rows and columns of the images, 0 for their own size; required
      if the images differ in size.
    value_range: values that become 0 and 255 in gray images of 16 bits, which
      require it.
    valid_fraction: share of train to hold out if there is no validation
      split, stratified by class; 0 for no validation split.
    folds, fold: see `make_splits`.
    in_memory_limit: bytes; a larger data set is streamed.
    cache_dir: see `cache.splits`.

  Raises:
    UserError: the data is not available or malformed.
  """
  location = Location(builder, data_dir, manual_dir, download, verify)
  location.check()
  rule = SplitSettings(valid_fraction, folds=folds, fold=fold)
  rule.check()
  selection = {
    **location.key(),
    "input_feature": input_feature,
    "target_feature": target_feature,
    "image_size": image_size,
    "value_range": value_range,
  }
  return cache.splits(
    functools.partial(_build, location, selection, rule, in_memory_limit),
    name=location.cache_name,
    key={
      **selection,
      "valid_fraction": valid_fraction,
      "folds": folds,
      "fold": fold,
    },
    files=location.files,
    folder=cache_dir,
    max_bytes=in_memory_limit,
  )


def _build(
  location: Location,
  selection: Mapping[str, Any],
  rule: SplitSettings,
  in_memory_limit: int,
) -> Splits:
  """Prepares, reads and splits a data set.

  Args:
    location: of the data set.
    selection: see `record_reader.open_readers`.
    rule: how train is divided.
    in_memory_limit: see `tfds_source`.
  """
  readers = open_readers(location.prepare(), selection)
  features = readers["train"].features
  num_bytes = sum(map(len, readers.values())) * math.prod(features.shape)
  num_bytes *= np.dtype(features.dtype).itemsize
  # By position: TFDS's order of the examples is fixed.
  hashes = holdout.hash_names(map(str, range(len(readers["train"]))))
  if num_bytes <= in_memory_limit:
    return split.make_splits(
      {name: _decode(reader) for name, reader in readers.items()},
      features.schema,
      name=features.name,
      hashes=hashes,
      **rule.arguments(),
    )
  holds_out = "valid" not in readers and rule.valid_fraction > 0
  holds_out |= rule.folds > 0
  return split.make_streamed(
    {
      name: split.Stream(reader, reader.names())
      for name, reader in readers.items()
    },
    features.schema,
    name=features.name,
    hashes=hashes,
    labels=readers["train"].labels() if holds_out else None,
    **rule.arguments(),
  )


def _decode(reader: Reader) -> Arrays:
  """Reads a whole split, a thousand examples at a time."""
  # Threads decode large images faster; with small ones they mostly wait for
  # the interpreter's lock.
  large = math.prod(reader.features.shape) >= LARGE
  with concurrent.futures.ThreadPoolExecutor(
    os.cpu_count() if large else 1
  ) as threads:
    pieces = list(threads.map(reader, reader.pieces()))
  return {
    name: np.concatenate([piece[name] for piece in pieces])
    for name in pieces[0]
  }

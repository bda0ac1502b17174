"""Loading of data sets by their names in tensorflow-datasets."""

import concurrent.futures
import functools
import inspect
import math
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dlcore.data import cache, holdout, split
from dlcore.data.source import Arrays, Splits
from dlcore.data.split_settings import SplitSettings
from dlcore.data.tfds import preparation
from dlcore.data.tfds.record_reader import Reader, open_readers
from dlcore.errors import UserError

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
  if not builder:
    raise UserError(
      "expected builder to name a data set of tensorflow-datasets",
      "got an empty string",
      'for example builder="mnist"',
    )
  rule = SplitSettings(valid_fraction, folds=folds, fold=fold)
  rule.check()
  root = _data_dir(data_dir)
  # Not the whole of `root`, which may hold other data sets.
  folder = root / builder.split("/")[0].split(":")[0]
  selection = {
    "builder": builder,
    "data_dir": os.path.abspath(root),
    "input_feature": input_feature,
    "target_feature": target_feature,
    "image_size": image_size,
    "value_range": value_range,
  }
  prepare = functools.partial(
    preparation.prepared_builder,
    builder,
    data_dir=root,
    manual_dir=manual_dir,
    download=download,
    verify=verify,
  )
  return cache.splits(
    functools.partial(_build, prepare, selection, rule, in_memory_limit),
    name=folder.name,
    key={
      **selection,
      "valid_fraction": valid_fraction,
      "folds": folds,
      "fold": fold,
    },
    files=lambda: [path for path in folder.rglob("*") if path.is_file()],
    folder=cache_dir,
    max_bytes=in_memory_limit,
  )


def _data_dir(data_dir: str) -> pathlib.Path:
  """Returns the folder of the prepared data sets, which may be missing."""
  home = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
  root = pathlib.Path(os.path.expanduser(home))
  try:
    root.stat()
  except FileNotFoundError:
    pass
  except (OSError, ValueError) as error:
    raise UserError(
      "expected data_dir to be the path of a folder",
      f"got {home!r:.80}: {getattr(error, 'strerror', None) or error}",
    ) from error
  return root


def tfds_builder(*, builder: str = "", **settings: Any) -> Splits:
  """Loads any data set of tensorflow-datasets; see `tfds_source`."""
  return tfds_source(builder, **settings)


# The settings in a config are those of the signature.
tfds_builder.__dict__["__signature__"] = inspect.Signature(
  [
    parameter.replace(kind=parameter.KEYWORD_ONLY)
    for parameter in inspect.signature(tfds_source).parameters.values()
  ]
)


def _build(
  prepare: Callable[[], Any],
  selection: Mapping[str, Any],
  rule: SplitSettings,
  in_memory_limit: int,
) -> Splits:
  """Prepares, reads and splits a data set.

  Args:
    prepare: returns the prepared builder of TFDS.
    selection: see `record_reader.open_readers`.
    rule: how train is divided.
    in_memory_limit: see `tfds_source`.
  """
  readers = open_readers(prepare(), selection)
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

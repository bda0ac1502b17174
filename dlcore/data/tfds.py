"""Data sets by their tensorflow-datasets names, read without TensorFlow."""

import concurrent.futures
import functools
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from dlcore.data import cache, split, tfds_prepare
from dlcore.data.source import Arrays, Splits
from dlcore.data.tfds_reader import Reader, open_readers
from dlcore.errors import UserError

IN_MEMORY_LIMIT = 2 << 30
"""Bytes up to which a decoded data set is held in memory."""

LARGE = 64 * 64 * 3
"""Values in a picture from which decoding in threads is faster."""


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
  wanted = {
    "builder": builder,
    "data_dir": os.path.abspath(root),
    "input_feature": input_feature,
    "target_feature": target_feature,
    "image_size": image_size,
  }

  build = functools.partial(
    _build,
    wanted,
    root,
    {"manual_dir": manual_dir, "download": download, "verify": verify},
    valid_fraction=valid_fraction,
    in_memory_limit=in_memory_limit,
  )
  return cache.splits(
    build,
    name=folder.name,
    key={**wanted, "valid_fraction": valid_fraction},
    files=lambda: [path for path in folder.rglob("*") if path.is_file()],
    folder=cache_dir,
    most=in_memory_limit,
  )


def _build(
  wanted: Mapping[str, Any],
  root: pathlib.Path,
  preparing: Mapping[str, Any],
  *,
  valid_fraction: float,
  in_memory_limit: int,
) -> Splits:
  """Prepares, reads and divides a data set.

  Args:
    wanted: see `tfds_reader.open_readers`.
    root: where TFDS keeps what it prepared.
    preparing: the settings of `tfds_prepare.prepared`.
    valid_fraction: see `tfds_source`.
    in_memory_limit: likewise.
  """
  prepared = tfds_prepare.prepared(
    wanted["builder"], data_dir=root, **preparing
  )
  readers, about = open_readers(prepared, wanted)
  size = sum(map(len, readers.values())) * math.prod(about["shape"])
  size *= np.dtype(about["dtype"]).itemsize
  # By position: TFDS's order of the examples is fixed.
  hashes = split.hash_names(map(str, range(len(readers["train"]))))
  if size <= in_memory_limit:
    return split.make(
      {name: _decode(reader) for name, reader in readers.items()},
      about,
      hashes=hashes,
      valid_fraction=valid_fraction,
    )
  hold_out = "valid" not in readers and valid_fraction > 0
  return split.make_streamed(
    {
      name: split.Stream(reader, reader.names())
      for name, reader in readers.items()
    },
    about,
    hashes=hashes,
    labels=readers["train"].labels() if hold_out else None,
    valid_fraction=valid_fraction,
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


def _decode(reader: Reader) -> Arrays:
  """Reads all of a split, a thousand examples at a time."""
  # Threads decode large pictures faster; with small ones they mostly wait for
  # the interpreter's lock.
  large = int(np.prod(reader.about["shape"])) >= LARGE
  with concurrent.futures.ThreadPoolExecutor(
    os.cpu_count() if large else 1
  ) as threads:
    pieces = list(threads.map(reader, reader.pieces()))
  return {
    name: np.concatenate([piece[name] for piece in pieces])
    for name in pieces[0]
  }

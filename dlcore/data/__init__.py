"""Data sets by name, local files, and batches of them."""

import functools
import logging
from collections.abc import Callable
from typing import Any

from dlcore.data.array_schema import ArraySchema
from dlcore.data.array_source import from_arrays
from dlcore.data.bucketing import bucketed
from dlcore.data.holdout import hold_out
from dlcore.data.images.digits import digits
from dlcore.data.images.image_folder import image_folder
from dlcore.data.images.image_schema import ImageSchema
from dlcore.data.info import DataInfo, ReadBatch, Schema
from dlcore.data.loader import (
  batches,
  cut,
  evaluation_batches,
  rows_to_arrays,
)
from dlcore.data.mix import mix
from dlcore.data.order import (
  Order,
  Rows,
  in_order,
  sequential,
  shuffled,
  weighted,
)
from dlcore.data.reading import read_all
from dlcore.data.serialization import (
  SCHEMAS,
  checksums_from_json,
  info_from_json,
  info_to_json,
)
from dlcore.data.source import Source, Splits
from dlcore.data.subset import limit
from dlcore.data.tables.embedded_tables import breast_cancer, diabetes
from dlcore.data.tables.table_csv import table_csv
from dlcore.data.tables.table_schema import Column, TableSchema
from dlcore.data.tfds.tfds_source import tfds_builder, tfds_source
from dlcore.errors import check_settings, lookup

__all__ = [
  "DATASETS",
  "SCHEMAS",
  "ArraySchema",
  "Column",
  "DataInfo",
  "ImageSchema",
  "Order",
  "ReadBatch",
  "Rows",
  "Schema",
  "Source",
  "Splits",
  "TableSchema",
  "batches",
  "bucketed",
  "checksums_from_json",
  "cut",
  "evaluation_batches",
  "from_arrays",
  "hold_out",
  "in_order",
  "info_from_json",
  "info_to_json",
  "limit",
  "load",
  "mix",
  "read_all",
  "rows_to_arrays",
  "sequential",
  "shuffled",
  "weighted",
]

DATASETS: dict[str, Callable[..., Splits]] = {
  "breast_cancer": breast_cancer,
  "cifar10": functools.partial(tfds_source, "cifar10"),
  "cifar100": functools.partial(tfds_source, "cifar100"),
  "diabetes": diabetes,
  "digits": digits,
  "fashion_mnist": functools.partial(tfds_source, "fashion_mnist"),
  "image_folder": image_folder,
  "imagenet2012": functools.partial(tfds_source, "imagenet2012"),
  "kmnist": functools.partial(tfds_source, "kmnist"),
  "mnist": functools.partial(tfds_source, "mnist"),
  "table_csv": table_csv,
  "tfds": tfds_builder,
}
"""Data sets by name; the keyword arguments of an entry are its settings."""


def load(name: str, **settings: Any) -> Splits:
  """Loads a data set by name.

  Args:
    name: a key of `DATASETS`.
    **settings: keyword arguments of that entry.

  Raises:
    UserError: the name or a setting is unknown, or the data is malformed.
  """
  loader = lookup(DATASETS, name, "data set")
  check_settings(loader, settings, f"data set {name!r}")
  splits = loader(**settings)
  for note in splits.train.info.notes:
    logging.getLogger("dlcore").warning(note)
  return splits

"""What is learned from: data sets by name, own files, and batches of them."""

import functools
import logging
from collections.abc import Callable

from dlcore.data.embedded import breast_cancer, diabetes, digits
from dlcore.data.image_folder import image_folder
from dlcore.data.images import read_images
from dlcore.data.loader import batches, evaluation_batches
from dlcore.data.source import (
  Source,
  Splits,
  from_arrays,
  hold_out,
  indices,
)
from dlcore.data.split import limit
from dlcore.data.table import read_table, table_csv
from dlcore.data.tfds import tfds_builder, tfds_source
from dlcore.errors import lookup

__all__ = [
  "DATASETS",
  "Source",
  "Splits",
  "batches",
  "evaluation_batches",
  "from_arrays",
  "hold_out",
  "indices",
  "limit",
  "load",
  "read_images",
  "read_table",
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
"""Data sets by name; the keywords of an entry are its settings."""


def load(name: str, **settings) -> Splits:
  """Loads a data set by name.

  Args:
    name: a key of `DATASETS`.
    **settings: keywords of that entry.

  Raises:
    UserError: the name is unknown, or the data is not as it must be.
  """
  splits = lookup(DATASETS, name, "data set")(**settings)
  for note in splits.train.about.get("notes", ()):
    logging.getLogger("dlcore").warning(note)
  return splits

"""Records of prepared data sets of TensorFlow Datasets, read by position."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlcore.data.normalization import sample
from dlcore.data.tfds import preparation
from dlcore.errors import UserError

DAMAGE = (ArithmeticError, LookupError, TypeError, ValueError)
"""Errors of values that do not fit the metadata."""

SAMPLE = 64
"""Number of examples that decide whether a split has targets."""


class Records:
  """The examples of a split.

  The records are opened at the first read, so that a pickle for the worker
  processes of a loader holds a few strings alone.
  """

  def __init__(
    self, name: str, builder: str, data_dir: str, split: str, size: int
  ):
    """Stores where the examples are.

    Args:
      name: of the data set, for messages and names of examples.
      builder: its name in the notation of TFDS.
      data_dir: folder of prepared data sets.
      split: in the notation of TFDS, such as "train[:10%]".
      size: number of examples.
    """
    self.name = name
    self.builder = builder
    self.data_dir = data_dir
    self.split = split
    self.size = size
    self.records: Any = None

  def __len__(self) -> int:
    return self.size

  def __getstate__(self):
    return {**vars(self), "records": None}

  def names(self) -> list[str]:
    """Returns a name of every example."""
    return [f"{self.name}/{self.split}/{row}" for row in range(self.size)]

  def pieces(self) -> list[np.ndarray]:
    """Returns all rows in pieces of a thousand."""
    return np.split(np.arange(self.size), range(1000, self.size, 1000))

  def examples(self, rows: np.ndarray) -> list[dict[str, Any]]:
    """Returns the features of some rows, with encoded images."""
    records = self.open()
    try:
      return records.__getitems__([int(row) for row in rows])
    except Exception as error:  # Damaged records make TFDS raise any.
      raise self.damaged(error) from error

  def has_targets(self, feature: str) -> bool:
    """Returns whether an example of a sample has a target.

    Some test splits have none, which TFDS writes as -1.
    """
    some = self.examples(sample(self.size, SAMPLE))
    try:
      return any(example[feature] != -1 for example in some)
    except DAMAGE as error:
      raise self.damaged(error) from error

  def columns(self, names: Sequence[str]) -> dict[str, list[Any]]:
    """Returns some features of all examples; texts are decoded as UTF-8."""
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for rows in self.pieces():
      examples = self.examples(rows)
      try:
        for name, column in columns.items():
          column += [_decoded(example[name]) for example in examples]
      except DAMAGE as error:
        raise self.damaged(error) from error
    return columns

  def damaged(self, error: Exception) -> UserError:
    """Returns the error for records that cannot be read."""
    return UserError(
      f"expected readable records of {self.name}, {self.split}",
      f"got: {_line(error)}",
      f"delete its folder in {self.data_dir} to prepare it again",
    )

  def open(self) -> Any:
    """Returns the TFDS data source, which is opened once."""
    if self.records is None:
      builder: Any = preparation.prepared_builder(
        self.builder, data_dir=pathlib.Path(self.data_dir), download=False
      )
      self.records = builder.as_data_source(
        self.split, decoders=self.decoders()
      )
    return self.records

  def decoders(self) -> Any:
    """Returns the decoders that replace those of TFDS, or None."""
    return None

  def check(self, builder: Any) -> None:
    """Checks that the files have as many records as the metadata.

    Raises:
      UserError: they have not, or they are in another format.
    """
    remedy = f"delete {builder.data_dir} to prepare it again"
    expected = f"expected {len(self)} records in {self.split} of {builder.name}"
    try:
      count = len(self.open())
    except NotImplementedError as error:
      raise UserError(
        f"expected {builder.name} prepared as array_record",
        f"got {builder.info.file_format} in {builder.data_dir}",
        "choose another data_dir to prepare it again",
      ) from error
    except UserError:
      raise
    except Exception as error:  # Damaged metadata makes TFDS raise any.
      raise UserError(expected, f"got: {_line(error)}", remedy) from error
    if count != len(self):
      raise UserError(expected, f"got {count}", remedy)


def split_sizes(builder: Any, name: str) -> dict[str, int]:
  """Returns the number of examples of each split that TFDS names.

  Raises:
    UserError: train has no examples, or the files of the splits are too small
      for so many records; a record has a byte at least.
  """
  sizes = {key: info.num_examples for key, info in builder.info.splits.items()}
  if sizes.get("train", 0) < 1 or min(sizes.values()) < 0:
    raise UserError(
      f"expected {name} to have a train split with examples", f"got {sizes}"
    )
  _check_sizes(sizes, builder)
  return sizes


def _check_sizes(sizes: Mapping[str, int], builder: Any) -> None:
  """Checks that the files may hold so many records, before they are listed.

  Raises:
    UserError: a record has less than a byte on average, or a file is missing.
  """
  folder = pathlib.Path(builder.data_path)
  try:
    num_bytes = sum(path.stat().st_size for path in folder.iterdir())
  except OSError as error:  # A link without a file, or to itself.
    raise preparation.damaged(folder, str(error)) from error
  if sum(sizes.values()) > num_bytes:
    raise preparation.damaged(
      folder, f"{sizes} examples in files of {num_bytes:,} bytes"
    )


def _decoded(value: Any) -> Any:
  return value.decode("utf-8") if isinstance(value, bytes) else value


def _line(error: Exception) -> str:
  return " ".join(str(error).split())[:200] or repr(error)

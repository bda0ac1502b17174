"""Orders of training by name, such as uniform, balanced and bucketed."""

from collections.abc import Callable

import numpy as np

from dlcore.data.bucketing import Bucketed, bucketed
from dlcore.data.order import (
  ClassPairs,
  Order,
  Sequential,
  Weighted,
  class_pairs,
  sequential,
  shuffled,
  weighted,
)
from dlcore.data.reading import read_all
from dlcore.data.source import Source
from dlcore.errors import UserError


def balanced(source: Source, batch_size: int) -> Weighted:
  """Returns an order that samples every class with the same frequency.

  Examples are sampled with replacement, uniformly within a class.
  If the labels of a stream are not in memory, the whole stream is read once.

  Args:
    source: the examples, of which each has one class.
    batch_size: number of rows in a batch, B.

  Raises:
    UserError: the examples have no class, or several labels.
  """
  labels = _labels(source, "balanced")
  return weighted(1 / np.bincount(labels)[labels], batch_size)


def by_class(source: Source, batch_size: int) -> ClassPairs:
  """Returns `class_pairs`: batches of pairs of examples of one class.

  Raises:
    UserError: the examples have no class, or several labels.
  """
  return class_pairs(_labels(source, "class_pairs"), batch_size)


def _labels(source: Source, sampling: str) -> np.ndarray:
  """Returns the class of each example, int `[N]`.

  Raises:
    UserError: the examples have no class, or several labels.
  """
  schema = source.info.schema
  if not schema.classes or schema.multilabel:
    got = "several labels" if schema.multilabel else "no classes"
    raise UserError(
      f"expected data with one class for every example for {sampling} sampling",
      f"got {source.info.name!r}, which has {got}",
      "use sampling='uniform'",
    )
  arrays = source.known or read_all(source, exclude=source.info.inputs)
  labels = arrays[schema.target]
  if labels.ndim != 1:
    raise UserError(
      f"expected labels [N] for {sampling} sampling",
      f"got the shape {list(labels.shape)}",
    )
  return labels


def uniform(source: Source, batch_size: int) -> Order:
  """Returns `shuffled`: every example once in an epoch."""
  return shuffled(source.size, batch_size)


def by_length(source: Source, batch_size: int) -> Bucketed:
  """Returns `bucketed` for the lengths of the examples.

  Raises:
    UserError: the source has no lengths.
  """
  if source.lengths is None:
    raise UserError(
      "expected examples of different lengths, such as texts, for bucketed "
      "sampling",
      f"got {source.info.name!r}, whose examples have no lengths",
      "use sampling='uniform'",
    )
  return bucketed(source.lengths, batch_size)


def consecutive(source: Source, batch_size: int) -> Sequential:
  """Returns `sequential`: the rows of a batch continue those of the last."""
  return sequential(source.size, batch_size)


SAMPLINGS: dict[str, Callable[[Source, int], Order]] = {
  "balanced": balanced,
  "bucketed": by_length,
  "class_pairs": by_class,
  "sequential": consecutive,
  "uniform": uniform,
}
"""Orders of training by name, `(source, batch size) -> order`."""

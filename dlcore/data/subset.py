"""A subset of the training examples."""

import functools

import numpy as np

from dlcore.data.array_source import from_arrays
from dlcore.data.normalization import with_sampled_statistics, with_statistics
from dlcore.data.order import permutation
from dlcore.data.source import Source, take_rows
from dlcore.data.stream import Stream, from_stream, read_rows
from dlcore.errors import UserError


def limit(train: Source, size: int) -> Source:
  """Selects a fixed subset of the training examples.

  Every class keeps its share if the labels are in memory. Of examples that
  continue one another it is the first ones. The statistics are those of the
  subset, in place of any that were passed to `from_arrays`.

  Args:
    train: the examples to select from.
    size: number of examples to select, more than 0.

  Raises:
    UserError: there are fewer examples.
  """
  if not 0 < size <= train.size:
    raise UserError(
      f"expected limit from 1 to {train.size}, the size of the training set",
      f"got {size}",
    )
  order = permutation(0, 0, train.size)
  labels = None if train.arrays is None else train.arrays.get("label")
  rows = np.sort(order[_stratified(labels, order, size)])
  if train.info.schema.consecutive:
    rows = np.arange(size, dtype=np.int32)
  info, lengths = train.info, train.lengths
  lengths = None if lengths is None else lengths[rows]
  chosen = None if train.names is None else train.names[rows]
  if train.arrays is not None:
    arrays = take_rows(train.arrays, rows)
    source = from_arrays(
      arrays,
      name=info.name,
      schema=with_statistics(info.schema, arrays),
      notes=info.notes,
      lengths=lengths,
    )
    return source._replace(names=chosen)
  read = functools.partial(read_rows, train.read, rows)
  schema, _ = with_sampled_statistics(info.schema, read, size)
  known = take_rows(train.known, rows)
  part = Stream(read, [f"{info.sha256} {row}" for row in rows], known=known)
  source = from_stream(part, info._replace(schema=schema))
  return source._replace(lengths=lengths, names=chosen)


def _stratified(
  labels: np.ndarray | None, order: np.ndarray, size: int
) -> np.ndarray:
  """Returns `size` positions in `order` with the same share of each class."""
  if labels is None or labels.ndim != 1:
    return np.arange(size)
  quantile = np.empty(len(order))
  for label in np.unique(labels):
    members = np.flatnonzero(labels[order] == label)
    quantile[members] = (np.arange(len(members)) + 0.5) / len(members)
  return np.argsort(quantile, kind="stable")[:size]

"""Orders: which examples make a batch, as pure functions of (seed, batch).

Each order is a frozen dataclass that is called as `order(seed, batch_index)`
and can be evaluated at any batch without the ones before. Randomness comes
from the raw bits of the counter-based generator Philox alone, whose stream
NumPy guarantees for all its versions (that of `Generator.permutation` it does
not).
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from dlcore.errors import UserError

PADDING = -1
"""Index of a row that holds no example."""

UNIFORM_BITS = 53
"""Bits of a float64 in [0, 1)."""


class Rows(NamedTuple):
  """The examples of one batch."""

  index: np.ndarray
  """Positions in the source, int32 `[B]`; -1 for padding."""

  length: int | None = None
  """Length to which sequences are cut, or None."""

  begins: np.ndarray | None = None
  """bool `[B]`, true in rows that do not continue the batch before, or None."""


class Order(Protocol):
  """Interface of an order for the loader and the trainer."""

  @property
  def size(self) -> int:
    """Number of examples in the source, N."""
    ...

  @property
  def batch_size(self) -> int:
    """Number of rows in a batch, B."""
    ...

  @property
  def shapes(self) -> tuple[int | None, ...]:
    """All values of `Rows.length`: one program is compiled for each."""
    ...

  @property
  def padded(self) -> bool:
    """Whether some rows are padding, so that batches need a mask."""
    ...

  def __call__(self, seed: int, batch_index: int) -> Rows:
    """Returns the rows of a batch."""
    ...


@functools.lru_cache(maxsize=12)
def permutation(
  seed: int, epoch: int, size: int, stream: int = 0
) -> np.ndarray:
  """Returns the order of an epoch, a permutation, int32 `[N]`.

  Args:
    seed: of the run.
    epoch: number of the epoch.
    size: N.
    stream: number of the bucket, for independent permutations of several.
  """
  counter = [0, 0, 0, stream]
  generator = np.random.Philox(key=[seed, epoch], counter=counter)
  order = np.argsort(generator.random_raw(size), kind="stable")
  order = order.astype(np.int32)
  order.setflags(write=False)
  return order


def shuffled(size: int, batch_size: int) -> "Shuffled":
  """Returns an order with a new permutation in every epoch.

  The epochs follow one another without a gap, so a batch may take the end of
  one and the start of the next; no example is dropped.

  Args:
    size: number of examples, N.
    batch_size: number of rows in a batch, B.
  """
  check_sizes(size, batch_size)
  return Shuffled(size, batch_size)


def weighted(
  weights: Sequence[float] | np.ndarray, batch_size: int
) -> "Weighted":
  """Returns an order that samples with replacement, in proportion to weights.

  Args:
    weights: at least 0, of each of N examples.
    batch_size: number of rows in a batch, B.
  """
  totals = np.asarray(weights, np.float64)
  if totals.ndim != 1 or not np.isfinite(totals).all() or (totals < 0).any():
    raise UserError(
      "expected weights to be finite numbers of at least 0, one per example",
      f"got an array of shape {totals.shape}"
      + (f" from {totals.min()} to {totals.max()}" if totals.size else ""),
    )
  check_sizes(len(totals), batch_size)
  if not totals.any():
    raise UserError("expected weights with one above 0", "got only zeros")
  return Weighted(np.cumsum(totals), batch_size)


def sequential(size: int, batch_size: int) -> "Sequential":
  """Returns an order in which row b of a batch continues that of the last.

  For recurrent state that is carried from batch to batch, over a source whose
  examples are consecutive pieces of one text or signal. It is divided into B
  contiguous streams. The first `N % B` streams have one example more; in the
  last batch of an epoch the other rows are padding. Every example occurs once
  an epoch, and `begins` is true in its first batch.

  Args:
    size: number of examples, N.
    batch_size: number of streams, B.
  """
  check_sizes(size, batch_size)
  return Sequential(size, batch_size)


def class_pairs(labels: np.ndarray, batch_size: int) -> "ClassPairs":
  """Returns an order of batches of pairs of one class each.

  The first examples of the pairs are `shuffled`. Each is followed by another
  one of its class, uniformly at random; in a class of one example it is
  followed by itself.

  Args:
    labels: int `[N]`.
    batch_size: number of rows in a batch, B.
  """
  check_sizes(len(labels), batch_size)
  by_class = np.argsort(labels, kind="stable")
  counts = np.bincount(labels)
  starts = np.cumsum(counts) - counts
  position = np.empty(len(labels), np.int64)
  position[by_class] = np.arange(len(labels))
  return ClassPairs(
    by_class, position, starts[labels], counts[labels], batch_size
  )


def in_order(size: int, batch_size: int) -> "InOrder":
  """Returns the order of an evaluation: every example once, as stored.

  The last batch is padded.

  Args:
    size: number of examples, N.
    batch_size: number of rows in a batch, B.
  """
  check_sizes(size, batch_size)
  return InOrder(size, batch_size)


@dataclasses.dataclass(frozen=True)
class Shuffled:
  """See `shuffled`."""

  size: int
  batch_size: int
  shapes: tuple[int | None, ...] = (None,)
  padded: bool = False

  def __call__(self, seed: int, batch_index: int) -> Rows:
    """Returns the rows of a batch."""
    start = batch_index * self.batch_size
    return Rows(endless(seed, start, self.size, self.batch_size))


@dataclasses.dataclass(frozen=True, eq=False)
class Weighted:
  """See `weighted`."""

  totals: np.ndarray
  """Cumulative sum of the weights, float64 `[N]`."""

  batch_size: int
  shapes: tuple[int | None, ...] = (None,)
  padded: bool = False

  @property
  def size(self) -> int:
    """Number of examples in the source, N."""
    return len(self.totals)

  def __call__(self, seed: int, batch_index: int) -> Rows:
    """Returns the rows of a batch."""
    bits = np.random.Philox(key=[seed, batch_index])
    bits = bits.random_raw(self.batch_size) >> np.uint64(64 - UNIFORM_BITS)
    uniform = bits.astype(np.float64) * 2.0**-UNIFORM_BITS
    total = self.totals[-1]
    index = np.searchsorted(self.totals, uniform * total, side="right")
    # The product may be rounded up to the total.
    last = np.searchsorted(self.totals, total, side="left")
    return Rows(np.minimum(index, last).astype(np.int32))


@dataclasses.dataclass(frozen=True, eq=False)
class ClassPairs:
  """See `class_pairs`."""

  by_class: np.ndarray
  """The examples in the order of their classes, int `[N]`."""

  position: np.ndarray
  """Where each example is in `by_class`, int `[N]`."""

  start: np.ndarray
  """Where the class of each example begins in `by_class`, int `[N]`."""

  count: np.ndarray
  """Number of examples of the class of each example, int `[N]`."""

  batch_size: int
  shapes: tuple[int | None, ...] = (None,)
  padded: bool = False

  @property
  def size(self) -> int:
    """Number of examples in the source, N."""
    return len(self.by_class)

  def __call__(self, seed: int, batch_index: int) -> Rows:
    """Returns the rows of a batch."""
    pairs = -(-self.batch_size // 2)
    first = endless(seed, batch_index * pairs, self.size, pairs)
    bits = np.random.Philox(key=[seed, batch_index], counter=[0, 0, 1, 0])
    bits = bits.random_raw(pairs) >> np.uint64(64 - UNIFORM_BITS)
    uniform = bits.astype(np.float64) * 2.0**-UNIFORM_BITS
    others = np.maximum(self.count[first] - 1, 1)
    steps = np.minimum((uniform * others).astype(np.int64), others - 1) + 1
    place = self.position[first] - self.start[first] + steps
    second = self.by_class[self.start[first] + place % self.count[first]]
    index = np.stack([first, second], 1).reshape(-1)[: self.batch_size]
    return Rows(index.astype(np.int32))


@dataclasses.dataclass(frozen=True)
class PaddedEpochs:
  """An order whose epochs end with a padded batch."""

  size: int
  batch_size: int
  shapes: tuple[int | None, ...] = (None,)

  @property
  def padded(self) -> bool:
    """Whether some rows are padding."""
    return self.size % self.batch_size > 0

  @property
  def num_batches(self) -> int:
    """Batches in an epoch."""
    return -(-self.size // self.batch_size)


@dataclasses.dataclass(frozen=True)
class Sequential(PaddedEpochs):
  """See `sequential`."""

  def __call__(self, seed: int, batch_index: int) -> Rows:
    """Returns the rows of a batch."""
    del seed
    at = batch_index % self.num_batches
    shortest, longer = divmod(self.size, self.batch_size)
    stream = np.arange(self.batch_size)
    index = stream * shortest + np.minimum(stream, longer) + at
    inside = at < shortest + (stream < longer)
    return Rows(
      np.where(inside, index, PADDING).astype(np.int32),
      begins=np.full(self.batch_size, at == 0),
    )


@dataclasses.dataclass(frozen=True)
class InOrder(PaddedEpochs):
  """See `in_order`."""

  def __call__(self, seed: int, batch_index: int) -> Rows:
    """Returns the rows of a batch."""
    del seed
    start = batch_index % self.num_batches * self.batch_size
    index = np.arange(start, start + self.batch_size)
    return Rows(np.where(index < self.size, index, PADDING).astype(np.int32))


def endless(
  seed: int, start: int, size: int, count: int, stream: int = 0
) -> np.ndarray:
  """Returns items of the permutations of all epochs, joined to one sequence.

  Args:
    seed: of the run.
    start: position of the first item in the sequence.
    size: number of items in an epoch.
    count: number of items to return.
    stream: see `permutation`.
  """
  pieces = []
  while count > 0:
    epoch, offset = divmod(start, size)
    piece = permutation(seed, epoch, size, stream)[offset : offset + count]
    pieces.append(piece)
    start += len(piece)
    count -= len(piece)
  return np.concatenate(pieces)


def check_sizes(size: int, batch_size: int) -> None:
  """Checks that `size` and `batch_size` are positive.

  Raises:
    UserError: one of them is not.
  """
  if size < 1 or batch_size < 1:
    raise UserError(
      "expected size and batch_size of at least 1",
      f"got {size=}, {batch_size=}",
    )

"""An order whose batches hold sequences of similar length."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from dlcore.data.order import Rows, check_sizes, endless, permutation
from dlcore.errors import UserError

ROUND_TO = 8
"""Lengths of buckets are multiples of this, which suits the tiles of
accelerators."""

QUANTILES = (0.25, 0.5, 0.75, 0.9, 1.0)
"""Quantiles of the lengths that become the boundaries of buckets."""


def bucketed(
  lengths: Sequence[int] | np.ndarray,
  batch_size: int,
  boundaries: Sequence[int] | None = None,
) -> "Bucketed":
  """Returns an order whose batches hold examples of similar length.

  A bucket holds the examples up to its length. It is shuffled and read as in
  `shuffled`, across epochs and without a gap. An epoch is the permuted
  sequence of the batches that every bucket completes in it. The last
  `n % batch_size` examples of a bucket of n occur in the next epoch: after E
  epochs every example has occurred E or E - 1 times; none is dropped.

  Args:
    lengths: int `[N]`, tokens or frames of each example.
    batch_size: number of rows in a batch, B.
    boundaries: ascending lengths of the buckets, the last at least that of
      the longest example. By default the quartiles, the 90th percentile and
      the maximum, rounded up to multiples of 8. A bucket with fewer than B
      examples is merged with the next longer one, the last with the one
      before: it would complete less than a batch in an epoch.
  """
  lengths = np.asarray(lengths)
  check_sizes(len(lengths), batch_size)
  ends = _quantiles(lengths) if boundaries is None else list(boundaries)
  if (
    not ends
    or sorted(set(ends)) != ends
    or not 1 <= ends[0] <= ends[-1]
    or ends[-1] < lengths.max()
  ):
    raise UserError(
      "expected ascending boundaries of at least 1, the last of at least "
      f"{lengths.max()}, the longest example",
      f"got {tuple(ends)}",
    )
  ends = _merged(ends, lengths, batch_size)
  bucket_of = np.searchsorted(ends, lengths)
  members = tuple(
    np.flatnonzero(bucket_of == bucket).astype(np.int32)
    for bucket in range(len(ends))
  )
  tokens = int(lengths.sum(dtype=np.int64))
  return Bucketed(members, tuple(map(int, ends)), batch_size, tokens)


@dataclasses.dataclass(frozen=True, eq=False)
class Bucketed:
  """See `bucketed`."""

  members: tuple[np.ndarray, ...]
  """Examples of each bucket, int32, ascending."""

  shapes: tuple[int, ...]
  """Length of each bucket."""

  batch_size: int

  tokens: int
  """Tokens or frames of all examples."""

  padded: bool = False

  @property
  def size(self) -> int:
    """Number of examples in the source, N."""
    return sum(map(len, self.members))

  def describe(self) -> str:
    """Returns a sentence on the lengths and the share of padding."""
    sizes = zip(self.members, self.shapes, strict=True)
    values = sum(len(members) * length for members, length in sizes)
    whole = self.size * self.shapes[-1]
    shares = (1 - self.tokens / max(1, total) for total in (values, whole))
    share, before = (f"{share:.0%}" for share in shares)
    lengths = ", ".join(map(str, self.shapes))
    return (
      f"batches of {len(self.shapes)} lengths ({lengths}) have {share} of "
      f"padding, in place of {before} with one length"
    )

  def completed(self, epochs: int) -> list[int]:
    """Returns the number of batches of each bucket in the first epochs."""
    return [epochs * len(m) // self.batch_size for m in self.members]

  def __call__(self, seed: int, batch_index: int) -> Rows:
    """Returns the rows of a batch."""
    epoch = batch_index * self.batch_size // self.size
    while sum(self.completed(epoch + 1)) <= batch_index:
      epoch += 1
    before, after = self.completed(epoch), self.completed(epoch + 1)
    counts = np.subtract(after, before)
    order = permutation(seed, epoch, int(counts.sum()))
    position = int(order[batch_index - sum(before)])
    starts = np.cumsum(counts) - counts
    bucket = int(np.searchsorted(starts + counts, position, side="right"))
    batch = before[bucket] + position - int(starts[bucket])
    members = self.members[bucket]
    start = batch * self.batch_size
    # Stream 0 orders the batches of an epoch.
    chosen = endless(seed, start, len(members), self.batch_size, 1 + bucket)
    return Rows(members[chosen], self.shapes[bucket])


def _merged(ends: list[int], lengths: np.ndarray, batch_size: int) -> list[int]:
  """Returns the boundaries of buckets with at least `batch_size` examples."""
  bucket_of = np.searchsorted(ends, lengths)
  kept: list[int] = []
  pending = 0
  for bucket, count in enumerate(np.bincount(bucket_of)):
    pending += count
    if pending >= batch_size:
      kept.append(ends[bucket])
      pending = 0
  longest = ends[int(bucket_of.max())]
  return [*kept[:-1], longest] if pending else kept


def _quantiles(lengths: np.ndarray) -> list[int]:
  """Returns default boundaries of buckets."""
  ranked = np.sort(lengths)
  positions = [int(np.ceil(q * len(ranked))) - 1 for q in QUANTILES]
  ends = {
    max(ROUND_TO, -(-int(ranked[p]) // ROUND_TO) * ROUND_TO) for p in positions
  }
  return sorted(ends)

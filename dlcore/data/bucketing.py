"""An order whose batches hold sequences of similar length."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from dlcore.data.order import Rows, check_sizes, endless, permutation
from dlcore.errors import UserError

ROUND_TO = 4
"""Default lengths of buckets are multiples of this."""

MAX_BUCKETS = 5
"""Each is a program to compile."""

CANDIDATES = 128
"""Number of lengths among which the default ones are chosen, about."""

ENOUGH = 1.03
"""Fewer buckets are preferred, if they have at most 3% more tokens."""


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
      the longest example; a bucket with fewer than B examples is merged with
      the next longer one, the last with the one before, since it would
      complete less than a batch in an epoch. By default up to 5 multiples of 4
      that have the least padding.
  """
  lengths = np.asarray(lengths)
  check_sizes(len(lengths), batch_size)
  if boundaries is None:
    ends = _least_padding(lengths, batch_size)
  else:
    ends = list(boundaries)
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


def _least_padding(lengths: np.ndarray, batch_size: int) -> list[int]:
  """Returns the lengths of up to 5 buckets that have the least padding.

  Every bucket has `batch_size` examples, unless there are fewer.
  """
  rounded = np.sort(-(-np.maximum(lengths, 1) // ROUND_TO) * ROUND_TO)
  # Of many lengths, candidates are those of equal shares of the examples, and
  # those in equal ratios, since few examples may be much longer than the rest.
  shares = np.linspace(0, len(rounded) - 1, CANDIDATES // 2).astype(int)
  ratios = np.geomspace(rounded[0], rounded[-1], CANDIDATES // 2)
  above = np.searchsorted(rounded, np.minimum(ratios, rounded[-1]))
  ends = np.unique(rounded[np.concatenate([shares, above])])
  counts = np.concatenate([[0], np.searchsorted(rounded, ends, side="right")])
  # of_bucket[i, j]: tokens of a bucket after candidate i that ends with j.
  members = counts[None, 1:] - counts[:-1, None]
  of_bucket = np.where(members >= batch_size, members * ends, np.inf)
  best = of_bucket[0]  # With one bucket up to each candidate.
  totals, chosen = [best[-1]], [np.zeros(len(ends), int)]
  for _ in range(1, min(MAX_BUCKETS, len(ends))):
    through = best[:-1, None] + of_bucket[1:]
    chosen.append(1 + through.argmin(0))
    best = through.min(0)
    totals.append(best[-1])
  if not np.isfinite(min(totals)):
    return [int(ends[-1])]
  number = int(np.argmax(np.array(totals) <= ENOUGH * min(totals)))
  last, kept = len(ends) - 1, []
  for starts in reversed(chosen[: number + 1]):
    kept.append(int(ends[last]))
    last = starts[last] - 1
  return kept[::-1]

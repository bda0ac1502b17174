"""Rules that keep strata, groups and the order of time: pure functions.

`deal` and `pack` number the folds of examples, `window` bounds a fold of a time
series, and `hold_out_groups` and `hold_out_latest` select one share.
"""

from collections.abc import Sequence

import numpy as np

from dlcore.errors import UserError


def deal(
  hashes: np.ndarray, strata: np.ndarray | None, folds: int
) -> np.ndarray:
  """Returns the fold of each example: stratified K-fold by hash.

  Examples of equal hashes are in one fold and count once, for the first of
  their strata. So counted, the sizes of the folds, and their counts of each
  stratum, differ by at most one example.

  Args:
    hashes: strings `[N]`.
    strata: int `[N]`, or None for one stratum.
    folds: the number of folds, K.

  Returns:
    int64 `[N]`, 0 to K - 1.
  """
  keys = (hashes,) if strata is None else (hashes, strata)
  order = np.lexsort(keys)
  _, first, contents = np.unique(
    hashes[order], return_index=True, return_inverse=True
  )
  numbers = np.empty(len(hashes), np.int64)
  numbers[order] = np.argsort(np.argsort(first))[contents] % folds
  return numbers


def pack(
  groups: np.ndarray, strata: np.ndarray | None, shares: Sequence[float]
) -> np.ndarray:
  """Returns a part for each example, the same for all of a group.

  The groups, the largest first and equal ones by number, each join the part
  that then differs least from its share of the examples and of the strata.
  Without strata and with equal shares this is the part with the fewest
  examples.

  Args:
    groups: int `[N]`.
    strata: int `[N]`, or None.
    shares: of the parts, above 0; their sum is 1.

  Returns:
    int64 `[N]`, the numbers of the parts.
  """
  if strata is None:
    strata = np.zeros(len(groups), np.int64)
  group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)[
    1:
  ]
  totals, classes = _strata_sizes(strata)
  # The groups' counts of their own classes only: most have a few of many.
  pairs, counts = np.unique(
    group_of * len(totals) + classes, return_counts=True
  )
  owner, column = np.divmod(pairs, len(totals))
  starts = np.searchsorted(owner, np.arange(len(sizes) + 1))
  added = counts / totals[column]
  targets = np.asarray(shares)
  # The last column counts the examples of all classes.
  filled = np.zeros((len(shares), len(totals) + 1))
  part_of = np.zeros(len(sizes), np.int64)
  for group in np.argsort(-sizes, kind="stable"):
    own = slice(starts[group], starts[group + 1])
    columns = np.append(column[own], len(totals))
    growth = np.append(added[own], sizes[group] / len(groups))
    excess = 2 * (filled[:, columns] - targets[:, None]) + growth
    part = int(np.argmin(excess @ growth / targets))
    filled[part, columns] += growth
    part_of[group] = part
  return part_of[group_of]


def _strata_sizes(strata: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns the sizes of the strata, and the examples' strata from 0 on."""
  _, numbers, sizes = np.unique(strata, return_inverse=True, return_counts=True)
  return sizes, numbers


def hold_out_groups(
  groups: np.ndarray, strata: np.ndarray | None, fraction: float
) -> np.ndarray:
  """Returns a mask of whole groups with nearly a share of the examples.

  Of several groups one at least is selected, unless the share is less than
  half an example, and one at least is not.

  Args:
    groups: int `[N]`.
    strata: int `[N]`, or None.
    fraction: the share, between 0 and 1.

  Returns:
    bool `[N]`, true for the selected examples.
  """
  chosen = pack(groups, strata, (1.0 - fraction, fraction)) == 1
  wanted = round(fraction * len(groups)) > 0
  distinct, sizes = np.unique(groups, return_counts=True)
  smallest = groups == distinct[np.argmin(sizes)]
  if len(distinct) > 1 and chosen.all():
    return ~smallest
  if len(distinct) > 1 and wanted and not chosen.any():
    return smallest
  return chosen


def hold_out_latest(times: np.ndarray, fraction: float) -> np.ndarray:
  """Returns a mask of the latest examples, with nearly a share of all.

  Examples of equal time are selected together.

  Args:
    times: int `[N]`.
    fraction: the share, between 0 and 1.

  Returns:
    bool `[N]`, true for the selected examples.
  """
  size = len(times)
  count = round(fraction * size)
  if not count:
    return np.zeros(size, bool)
  ends = _ends(times)
  start = min(_nearest_end(ends, size - count), int(ends[-2]))
  chosen = np.zeros(size, bool)
  chosen[np.argsort(times, kind="stable")[start:]] = True
  return chosen


def window(
  times: np.ndarray, folds: int, fold: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the examples before a fold of a time series, and those in it.

  Of K + 1 blocks of equal size in the order of time, fold i is block i + 1, and
  all blocks before it are for training, as in scikit-learn's `TimeSeriesSplit`.
  Examples of equal time are in one block.

  Args:
    times: int `[N]`.
    folds: the number of folds, K.
    fold: 0 to K - 1.

  Returns:
    Two arrays of rows, ascending int64.

  Raises:
    UserError: there are too few different times.
  """
  ends, size = _ends(times), len(times) // (folds + 1)
  start = len(times) - (folds - fold) * size
  start, stop = (_nearest_end(ends, at) for at in (start, start + size))
  if not 0 < start < stop:
    raise UserError(
      f"expected times that {folds + 1} blocks can divide, for {folds=}",
      f"got {len(times)} examples at {len(ends) - 1} times",
      "choose fewer folds, or groups in place of times",
    )
  order = np.argsort(times, kind="stable")
  return np.sort(order[:start]), np.sort(order[start:stop])


def _ends(times: np.ndarray) -> np.ndarray:
  """Returns how many examples there are up to each time, from 0 to N."""
  counts = np.unique(times, return_counts=True)[1]
  return np.concatenate([[0], np.cumsum(counts)])


def _nearest_end(ends: np.ndarray, count: int) -> int:
  return int(ends[np.argmin(np.abs(ends - count))])

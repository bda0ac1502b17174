"""Selection of held out examples by hash.

`hold_out` selects one share of the examples, `divide` applies it for test and
then valid, and `split.make_splits` creates the sources of the rows.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from dlcore.data.fold_assignment import hold_out_groups
from dlcore.errors import UserError


def divide(
  hashes: Sequence[str] | np.ndarray,
  labels: np.ndarray | None,
  *,
  valid_fraction: float,
  test_fraction: float,
) -> dict[str, np.ndarray]:
  """Returns the rows of train and, for positive fractions, of valid and test.

  The test examples are chosen first, so they do not depend on
  `valid_fraction`, which is a share of the rest.

  Args:
    hashes: a string per example.
    labels: int `[N]`; others are not stratified.
    valid_fraction: at least 0, for no such split, and less than 1.
    test_fraction: likewise.

  Returns:
    The rows of every split, ascending int64.

  Raises:
    UserError: a fraction is out of range, or leaves a split without examples.
  """
  hashes = np.asarray(hashes)

  def choose(rows: np.ndarray, fraction: float) -> np.ndarray:
    rest = None if labels is None else labels[rows]
    return hold_out(hashes[rows], rest, fraction)

  return divide_by(
    choose,
    len(hashes),
    (labels, "classes"),
    valid_fraction=valid_fraction,
    test_fraction=test_fraction,
  )


def divide_by(
  choose: Callable[[np.ndarray, float], np.ndarray],
  size: int,
  units: tuple[np.ndarray | None, str],
  *,
  valid_fraction: float,
  test_fraction: float,
) -> dict[str, np.ndarray]:
  """Returns the rows of every split by a rule for one share; see `divide`.

  Args:
    choose: `(rows, fraction) -> mask` of the rows to hold out.
    size: number of examples, N.
    units: what the rule keeps together or apart, `[N]`, and its plural noun for
      the message.
    valid_fraction: see `divide`.
    test_fraction: likewise.
  """
  rows = np.arange(size)
  divided = {}
  for split, fraction in (("test", test_fraction), ("valid", valid_fraction)):
    check_fraction(split, fraction)
    if fraction > 0.0:
      out = choose(rows, fraction)
      if out.all() or not out.any():
        values, noun = units
        count = "" if values is None else len(np.unique(values[rows]))
        raise UserError(
          f"expected enough examples to hold out {fraction:g} for {split}",
          f"got {len(rows)} examples" + f" in {count} {noun}" * bool(count),
          f"provide a {split} split, or set {split}_fraction=0",
        )
      divided[split], rows = rows[out], rows[~out]
  return {"train": rows, **divided}


def check_fraction(split: str, fraction: float) -> None:
  """Checks the share of a split that is held out.

  Raises:
    UserError: it is out of range.
  """
  if not 0.0 <= fraction < 1.0:
    raise UserError(
      f"expected {split}_fraction to be at least 0 and less than 1",
      f"got {fraction}",
    )


def hold_out(
  hashes: Sequence[str] | np.ndarray,
  labels: np.ndarray | None,
  fraction: float,
) -> np.ndarray:
  """Returns a mask of a stratified share of the examples, selected by hash.

  `make_splits` applies it to the splits that a data set lacks; call it to
  select others, such as a second validation set. The selection depends on the
  content only, not on the order of the examples nor on a seed. Examples of
  equal hashes, whatever their labels, are on the side that most of them would
  have without this rule.

  Args:
    hashes: a string per example, of its content or its name.
    labels: int `[N]`; others are not stratified.
    fraction: the share to select, 0 to 1, rounded in each class. If this is
      none of any class, one example each of some classes with several.

  Returns:
    bool `[N]`, true for the selected examples.
  """
  hashes = np.asarray(hashes)
  if labels is None or labels.ndim != 1:  # Several labels for each example.
    labels = np.zeros(len(hashes), np.int64)
  chosen = _lowest(hashes, labels, fraction)
  _, contents, counts = np.unique(
    hashes, return_inverse=True, return_counts=True
  )
  together = (2 * np.bincount(contents, chosen) >= counts)[contents]
  if chosen.any() and (together.all() or not together.any()):
    return hold_out_groups(contents, labels, fraction)
  return together


def _lowest(
  hashes: np.ndarray, labels: np.ndarray, fraction: float
) -> np.ndarray:
  """Returns a mask of a share of each class, those of the lowest hashes."""
  # By class, then by hash; equal hashes by position.
  order = np.lexsort((hashes, labels))
  _, starts, counts = np.unique(
    labels[order], return_index=True, return_counts=True
  )
  rank = np.arange(len(order)) - np.repeat(starts, counts)
  # As Python's `round`, of the exact product of the share and the count.
  kept = np.asarray([round(fraction * count) for count in counts.tolist()])
  if not kept.any():
    several = np.flatnonzero(counts > 1)
    by_hash = np.argsort(hashes[order[starts[several]]], kind="stable")
    kept[several[by_hash[: round(fraction * len(hashes))]]] = 1
  chosen = np.zeros(len(hashes), bool)
  chosen[order] = rank < np.repeat(kept, counts)
  return chosen


def hash_names(names: Iterable[str]) -> list[str]:
  """Returns a hash of every name, for `divide`."""
  return [
    hashlib.blake2b(
      name.encode("utf-8", "surrogateescape"), digest_size=8
    ).hexdigest()
    for name in names
  ]

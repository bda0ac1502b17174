"""Equal examples in several splits, by the hash of their content."""

from collections.abc import Mapping, Sequence

import numpy as np

from dlcore.data.source import Arrays, hash_rows


def hash_examples(arrays: Arrays, like: Arrays) -> np.ndarray:
  """Returns a hash of the content of each example, strings `[N]`.

  Args:
    arrays: `[N, ...]` by name.
    like: those of train, whose names and dtypes are used.
  """
  columns = [
    hash_rows(np.asarray(arrays[name], array.dtype))
    for name, array in like.items()
    if name in arrays
  ]
  return np.array(list(map("".join, zip(*columns, strict=True))))


def find_shared(
  contents: Mapping[str, Sequence[str] | np.ndarray],
) -> dict[str, np.ndarray]:
  """Returns masks of the examples that occur in another split as well.

  Args:
    contents: by split, a hash of the content of each example.

  Returns:
    bool `[N]` by split.
  """
  ends = np.cumsum([len(hashes) for hashes in contents.values()])
  together = np.concatenate([np.asarray(part) for part in contents.values()])
  distinct, numbers = np.unique(together, return_inverse=True)
  parts = np.split(numbers, ends[:-1])
  occurrences = np.zeros(len(distinct), np.int64)
  for part in parts:
    occurrences[np.unique(part)] += 1
  pairs = zip(contents, parts, strict=True)
  return {split: occurrences[part] > 1 for split, part in pairs}


def describe_shared(shared: Mapping[str, np.ndarray], moved: bool) -> list[str]:
  """Returns notes on the examples of valid and test that `find_shared` found.

  Args:
    shared: masks by split.
    moved: whether they are moved to train.
  """
  ending = (
    "and were moved to train"
    if moved
    else 'as well; duplicates="move" moves them to train'
  )
  return [
    f"{mask.sum():,} of {len(mask):,} examples of {split} occur in another "
    f"split {ending}"
    for split, mask in shared.items()
    if split != "train" and mask.any()
  ]

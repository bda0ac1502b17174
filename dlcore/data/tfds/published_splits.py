"""Which published splits are train, valid and test."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dlcore.data.tfds.location import Location
from dlcore.data.tfds.records import Records, split_sizes
from dlcore.errors import UserError, nearest
from dlcore.host_memory import binary_size, free_memory

PUBLISHED = {
  "valid": ("validation", "validation_matched"),
  "test": ("test", "test_matched"),
}
"""Names of TFDS by our name of a split; the first that exists is taken."""

MEMORY_PER_BYTE = 10
"""Bytes of memory that a byte of text takes while it becomes token ids. With
texts of 200 words, and pairs of 25, these were 7 and 8."""


class SplitNames(NamedTuple):
  """The splits that a user names in the notation of TFDS, empty for others."""

  train: str = ""
  valid: str = ""
  test: str = ""


def open_splits(
  location: Location,
  builder: Any,
  names: SplitNames,
  is_scored: Callable[[Records], bool] = lambda _: True,
  memory_per_byte: int = MEMORY_PER_BYTE,
) -> tuple[dict[str, Records], list[str]]:
  """Returns the records of each split, and notes for the user.

  Args:
    location: of the data set.
    builder: of TFDS, prepared.
    names: of the splits; see `choose_splits` for those that are empty.
    is_scored: whether the examples of a test split have targets.
    memory_per_byte: see `MEMORY_PER_BYTE`.

  Raises:
    UserError: a split is unknown, has no examples or no targets, or the texts
      need more than the free memory.
  """
  sizes = split_sizes(builder, location.name)
  open_one = functools.partial(_open, location, builder)
  published = _published("test", sizes)
  has_test = bool(published) and is_scored(open_one(published))
  chosen = choose_splits(sizes, names, has_test=has_test)
  records = {
    split: open_one(name) for split, name in chosen._asdict().items() if name
  }
  _check_memory(records["train"], builder, memory_per_byte)
  if names.test and not is_scored(records["test"]):
    raise UserError(
      f"expected a test split of {location.name} with targets",
      f"got {names.test!r}, where they are not published",
      f"set test to another split, such as {_published('valid', sizes)!r}",
    )
  notes = []
  if published and not has_test:
    notes.append(f"the targets of {published!r} are not published")
  if chosen.test and not has_test:
    held_out = (
      "" if chosen.valid else f"; valid is held out of {chosen.train!r}"
    )
    notes.append(f"the test split is {chosen.test!r}{held_out}")
  return records, notes


def choose_splits(
  sizes: Mapping[str, int], names: SplitNames, *, has_test: bool
) -> SplitNames:
  """Returns the names of the splits in TFDS, empty for those to hold out.

  Without a published test split that has targets, the published validation
  split is test, and valid is held out of train.

  Args:
    sizes: number of examples of each split of TFDS.
    names: those that the user has chosen.
    has_test: whether there is a test split that has targets.
  """
  default = _published("valid", sizes)
  if has_test:
    test = names.test or _published("test", sizes)
    valid = names.valid or (default if default != test else "")
  else:
    test = names.test or (default if default != names.valid else "")
    valid = names.valid
  return SplitNames(names.train or "train", valid, test)


def _published(split: str, sizes: Mapping[str, int]) -> str:
  """Returns the name of a split in TFDS, empty without one."""
  return next((name for name in PUBLISHED[split] if sizes.get(name)), "")


def _open(location: Location, builder: Any, name: str) -> Records:
  """Returns the records of a split, a part of one or several."""
  known = sorted(builder.info.splits)
  try:
    size = builder.info.splits[name].num_examples
  except Exception as error:  # TFDS raises various ones for bad notation.
    reason = " ".join(str(error).split())[:100]
    raise UserError(
      f'expected a split of {location.name}, or a part such as "train[:10%]"',
      f"got {name!r}" + ("" if name.isidentifier() else f": {reason}"),
      nearest(name, known),
    ) from error
  if not size:
    raise UserError(
      f"expected examples in the split {name!r} of {location.name}", "got none"
    )
  where = location.builder, location.key()["data_dir"]
  records = Records(location.name, *where, name, size)
  records.check(builder)
  return records


def _check_memory(train: Records, builder: Any, per_byte: int) -> None:
  """Checks that the texts fit in the free memory, by those of train.

  Raises:
    UserError: they do not.
  """
  whole = builder.info.splits.get(train.split.partition("[")[0])
  free = free_memory()
  if whole is None or free is None:
    return
  share = len(train) / whole.num_examples
  needed = per_byte * share * whole.num_bytes
  if needed > free:
    percent = max(1, int(50 * share * free / needed))
    raise UserError(
      f"expected about {binary_size(needed)} of memory for {len(train):,} "
      f"examples of {train.name}",
      f"got {binary_size(free)}",
      f'choose a part of them, for example train="train[:{percent}%]"',
    )

"""Which published splits are train, valid and test."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dlcore.data.tfds.location import Location
from dlcore.data.tfds.records import Records, split_sizes
from dlcore.errors import UserError, nearest
from dlcore.host_memory import binary_size, free_memory

PUBLISHED = {
  "train": ("train",),
  "valid": ("validation", "validation_matched"),
  "test": ("test", "test_matched"),
}
"""Names of TFDS by our name of a split; the first that exists is taken."""

BYTES_PER_BYTE = 10
"""Memory that loading takes, strings and token ids, for a byte of text."""


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
) -> tuple[dict[str, Records], list[str]]:
  """Returns the records of each split, and notes for the user.

  Without a test split that has targets, the published validation split is the
  test split, and valid is held out of train, unless `names` has valid.

  Args:
    location: of the data set.
    builder: of TFDS, prepared.
    names: of the splits.
    is_scored: whether the examples of a test split have targets.

  Raises:
    UserError: a split is unknown, has no examples or no targets, or the texts
      need more than the free memory.
  """
  sizes = split_sizes(builder, location.name)
  chosen = {
    ours: name or next((n for n in PUBLISHED[ours] if sizes.get(n)), "")
    for ours, name in names._asdict().items()
  }
  records = {
    ours: _open(location, builder, name)
    for ours, name in chosen.items()
    if name
  }
  _check_memory(records["train"], builder)
  notes = []
  if "test" in records and not is_scored(records["test"]):
    if names.test:
      raise UserError(
        f"expected a test split of {location.name} with targets",
        f"got {names.test!r}, where they are not published",
        'set test to another split, such as "validation"',
      )
    name = records.pop("test").split
    notes.append(f"the targets of {name!r} are not published")
  if "test" not in records and "valid" in records and not names.valid:
    records["test"] = records.pop("valid")
    notes.append(
      f"the test split is {records['test'].split!r}; valid is held out of "
      f"{records['train'].split!r}"
    )
  return records, notes


def read_columns(
  records: Records, names: Sequence[str]
) -> dict[str, list[Any]]:
  """Returns some features of all examples; texts are decoded as UTF-8.

  Raises:
    UserError: a record is damaged.
  """
  columns: dict[str, list[Any]] = {name: [] for name in names}
  for example in _examples(records):
    try:
      for name, column in columns.items():
        value = example[name]
        column.append(
          value.decode("utf-8") if isinstance(value, bytes) else value
        )
    except (LookupError, TypeError, ValueError) as error:
      raise records.damaged(error) from error
  return columns


def _examples(records: Records) -> Iterator[Mapping[str, Any]]:
  for rows in records.pieces():
    yield from records.examples(rows)


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


def _check_memory(train: Records, builder: Any) -> None:
  """Checks that the texts fit in the free memory, by those of train.

  Raises:
    UserError: they do not.
  """
  whole = builder.info.splits.get(train.split.partition("[")[0])
  free = free_memory()
  if whole is None or free is None:
    return
  share = len(train) / whole.num_examples
  needed = BYTES_PER_BYTE * share * whole.num_bytes
  if needed > free:
    percent = max(1, int(50 * share * free / needed))
    raise UserError(
      f"expected about {binary_size(needed)} of memory for {len(train):,} "
      f"examples of {train.name}",
      f"got {binary_size(free)}",
      f'choose a part of them, for example train="train[:{percent}%]"',
    )

"""Splits of arrays and streams by group, time, column and fold."""

import functools

import numpy as np
import pytest

from dlcore import data
from dlcore.data import cache, holdout, split
from dlcore.data.duplicates import find_shared
from dlcore.errors import UserError

SIZE = 60
CLASSES = data.ArraySchema(classes=("a", "b", "c"))


def arrays(size=SIZE, start=0):
  """Examples whose feature is their number."""
  numbers = np.arange(start, start + size)
  features = numbers.astype(np.float32)[:, None]
  return {"features": features, "label": (numbers % 3).astype(np.int32)}


def in_memory(parts, schema=CLASSES, **settings):
  return data.make_splits(parts, schema, name="own", **settings)


def streamed(parts, schema=CLASSES, *, known=True, **settings):
  """As `in_memory`, with examples that are read by index."""

  def stream(part):
    read = functools.partial(_read, part)
    names = [f"{value}" for value in part["features"].ravel()]
    return split.Stream(read, names, names if known else None)

  train = parts["train"]
  columns = zip(*map(data.hash_rows, train.values()), strict=True)
  return split.make_streamed(
    {name: stream(part) for name, part in parts.items()},
    schema,
    name="own",
    hashes=list(map("".join, columns)),
    labels=train["label"],
    **settings,
  )


def _read(part, indices):
  return {name: array[indices] for name, array in part.items()}


def numbers(source):
  rows = source.read(np.arange(source.size, dtype=np.int32))
  return rows["features"].ravel().astype(int).tolist()


def notes(splits):
  return "\n".join(splits.train.info.notes)


BOTH = pytest.mark.parametrize("make", [in_memory, streamed])
RULES = pytest.mark.parametrize(
  "settings",
  [
    {},
    {"test_fraction": 0.3},
    {"groups": np.arange(SIZE) // 4, "test_fraction": 0.2},
    {"times": np.arange(SIZE)[::-1], "test_fraction": 0.2},
    {"assigned": np.resize(["train", "train", "val", "test"], SIZE)},
    {"folds": 5, "fold": 4},
    {"stratify": False, "folds": 5},
    {"stratify": np.arange(SIZE) % 2, "test_fraction": 0.5},
  ],
  ids=lambda settings: "-".join(settings),
)


@RULES
def test_streams_have_the_splits_of_arrays(settings):
  parts = {"train": arrays()}
  one, two = in_memory(parts, **settings), streamed(parts, **settings)
  every = []
  for first, second in zip(one, two, strict=True):
    if first is None:
      assert second is None
      continue
    assert numbers(first) == numbers(second)
    assert first.names.tolist() == second.names.tolist() == numbers(first)
    assert first.info.notes == second.info.notes
    every += numbers(first)
  assert sorted(every) == list(range(SIZE))


@BOTH
def test_statistics_are_those_of_the_train_split_of_the_fold(make):
  means = []
  for fold in range(3):
    splits = make({"train": arrays()}, folds=3, fold=fold)
    mean = splits.train.info.schema.normalization["mean"]
    assert mean == pytest.approx([np.mean(numbers(splits.train))])
    for part in splits:
      assert part.info.schema.normalization["mean"] == mean
    means += mean
  assert len(set(means)) == 3


@BOTH
def test_splits_of_their_own_take_part_in_no_rule(make):
  parts = {"train": arrays(), "valid": arrays(9, 100), "test": arrays(9, 200)}
  splits = make(parts, groups=np.arange(SIZE) // 4)
  assert [numbers(part) for part in splits] == [
    list(range(SIZE)),
    list(range(100, 109)),
    list(range(200, 209)),
  ]
  assert splits.test.names.tolist() == list(range(9))
  fold = make(parts, folds=4, fold=1)
  assert numbers(fold.valid) == list(range(100, 109))
  assert set(numbers(fold.test)) < set(range(SIZE))
  assert len(numbers(fold.test)) == SIZE // 4
  assert "test is not used: the folds of train take its place" in notes(fold)


@BOTH
def test_examples_have_their_names(make):
  names = [f"pictures/{i}.png" for i in range(SIZE)]
  splits = make({"train": arrays()}, names={"train": names}, folds=3)
  for part in splits:
    assert part.names.tolist() == [names[i] for i in numbers(part)]
  part = data.limit(splits.train, 10)
  assert part.names.tolist() == [names[i] for i in numbers(part)]


def with_copies():
  """Examples of which 10 occur twice, and the splits in which they are."""
  once = arrays()
  train = {k: np.concatenate([v, v[:10]]) for k, v in once.items()}
  assigned = ["train"] * 40 + ["valid"] * 10 + ["test"] * 10
  # Of the copies, four are in train, two in valid and four in test.
  assigned += ["train"] * 4 + ["valid"] * 2 + ["test"] * 4
  return {"train": train}, assigned


@BOTH
def test_equal_examples_in_two_splits_are_counted(make):
  parts, assigned = with_copies()
  splits = make(parts, assigned=assigned)
  assert "2 of 12 examples of valid occur in another split as" in notes(splits)
  assert "4 of 14 examples of test occur in another split as" in notes(splits)
  assert 'duplicates="move" moves them' in notes(splits)
  assert "another split" not in notes(make({"train": arrays()}))


@BOTH
def test_equal_examples_are_moved_to_train(make):
  parts, assigned = with_copies()
  splits = make(parts, assigned=assigned, duplicates="move")
  assert [part.size for part in splits] == [50, 10, 10]
  assert sorted(numbers(splits.train)) == sorted([*range(40), *range(10)])
  assert numbers(splits.valid) == list(range(40, 50))
  assert "4 of 14 examples of test occur in another split and were moved" in (
    notes(splits)
  )


@BOTH
def test_equal_examples_of_a_file_of_its_own_are_moved_to_train(make):
  parts = {"train": arrays(), "test": arrays(20, SIZE - 5)}
  splits = make(parts, duplicates="move", valid_fraction=0.0)
  assert [numbers(splits.train), numbers(splits.test)] == [
    [*range(SIZE), *range(SIZE - 5, SIZE)],
    list(range(SIZE, SIZE + 15)),
  ]
  assert splits.test.names.tolist() == list(range(5, 20))
  images = splits.train.read(np.array([SIZE, 0, SIZE + 4]))
  assert images["features"].ravel().tolist() == [SIZE - 5, 0, SIZE - 1]


def test_equal_examples_have_equal_labels_too():
  train, test = arrays(), arrays()
  test["label"] = (test["label"] + 1) % 3
  splits = in_memory({"train": train, "test": test}, valid_fraction=0.0)
  assert "another split" not in notes(splits)
  test["label"] = train["label"].astype(np.int64)
  splits = in_memory({"train": train, "test": test}, valid_fraction=0.0)
  assert "60 of 60 examples of test" in notes(splits)


def test_copies_in_valid_and_test_are_shared_without_one_in_train():
  shared = find_shared(
    {"train": ["a", "a"], "valid": ["b", "c"], "test": ["b"]}
  )
  assert {split: mask.tolist() for split, mask in shared.items()} == {
    "train": [False, False],
    "valid": [True, False],
    "test": [True],
  }


def test_streams_of_unknown_content_are_neither_counted_nor_moved():
  parts, assigned = with_copies()
  splits = streamed(parts, known=False, assigned=assigned)
  assert "another split" not in notes(splits)
  with pytest.raises(UserError, match="data of known content") as caught:
    streamed(parts, known=False, assigned=assigned, duplicates="move")
  assert len(caught.value.lines) == 3


@BOTH
def test_a_split_of_nothing_but_copies_cannot_be_moved(make):
  parts = {"train": arrays(), "test": arrays(5)}
  with pytest.raises(UserError, match="got 5 examples that all") as caught:
    make(parts, duplicates="move")
  assert len(caught.value.lines) == 3
  with pytest.raises(UserError, match="duplicates to be 'keep' or 'move'"):
    make(parts, duplicates="drop")


@BOTH
def test_a_class_that_a_rule_keeps_out_of_train_is_reported(make):
  train = arrays()
  train["label"] = np.repeat([0, 1, 2], [20, 20, 20]).astype(np.int32)
  times = np.arange(SIZE)
  splits = make({"train": train}, times=times, test_fraction=0.4)
  note = "train has no examples of the classes 'c' of test"
  assert note in notes(splits)
  assigned = np.where(times < 50, "train", "test")
  train["label"] = np.where(times < 50, 0, 2).astype(np.int32)
  with pytest.raises(UserError, match="got 'c' in test only"):
    make({"train": train}, assigned=assigned)


def test_a_share_that_groups_or_times_change_is_reported():
  groups = np.repeat(np.arange(3), 20)
  for column in ("groups", "times"):
    splits = in_memory(
      {"train": arrays()}, **{column: groups}, valid_fraction=0.1
    )
    assert "valid has a share of 0.33 in place of 0.1" in notes(splits)
  splits = in_memory({"train": arrays()}, groups=np.arange(SIZE) // 2)
  assert "a share of" not in notes(splits)


def test_the_cache_keeps_the_names(tmp_path):
  file = tmp_path / "data"
  file.write_text("content")
  names = [f"row {i}" for i in range(SIZE)]
  built = []

  def build():
    built.append(1)
    return in_memory({"train": arrays()}, names={"train": names}, folds=3)

  def load():
    return cache.splits(
      build, name="own", key={}, files=lambda: [file], folder=str(tmp_path)
    )

  first, second = load(), load()
  assert built == [1]
  for one, two in zip(first, second, strict=True):
    assert one.names.tolist() == two.names.tolist()
    assert one.info == two.info


def test_the_default_rule_has_the_rows_of_hold_out():
  parts = {"train": arrays()}
  hashes = holdout.hash_names(map(str, range(SIZE)))
  splits = in_memory(parts, hashes=hashes, test_fraction=0.2)
  chosen = data.hold_out(hashes, parts["train"]["label"], 0.2)
  assert numbers(splits.test) == np.flatnonzero(chosen).tolist()

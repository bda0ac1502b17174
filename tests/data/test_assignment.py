"""The rules that split examples keep classes, groups and the order of time."""

import datetime

import numpy as np
import pytest
from sklearn import model_selection

from dlcore.data import holdout
from dlcore.data.assignment import assign
from dlcore.data.fold_assignment import deal, pack
from dlcore.data.split_columns import SplitColumns, split_columns
from dlcore.data.split_settings import SplitSettings
from dlcore.errors import UserError

SIZE = 173
FRACTIONS = SplitSettings(valid_fraction=0.2, test_fraction=0.1)


def hashes(size=SIZE):
  return holdout.hash_names(map(str, range(size)))


def random_labels(seed, classes=4, size=SIZE):
  share = np.arange(1, classes + 1) / sum(range(1, classes + 1))
  return np.random.default_rng(seed).choice(classes, size, p=share)


def random_groups(seed, count=30, size=SIZE):
  """Groups of different sizes, whose classes differ."""
  return np.random.default_rng(seed).geometric(3 / count, size) % count


def folds_of(columns, folds=5, **settings):
  rule = SplitSettings(folds=folds, **settings)
  return [assign(columns, rule._replace(fold=i)) for i in range(folds)]


def check_partition(rows, size=SIZE):
  together = np.concatenate(list(rows.values()))
  assert sorted(together.tolist()) == list(range(size))
  for chosen in rows.values():
    assert (np.diff(chosen) > 0).all()


def check_refused(message, function, *arguments, **settings):
  with pytest.raises(UserError, match=message) as caught:
    function(*arguments, **settings)
  assert len(caught.value.lines) == 3


@pytest.mark.parametrize("seed", range(3))
def test_without_new_settings_the_rule_is_that_of_divide(seed):
  labels = random_labels(seed)
  expected = holdout.divide(
    hashes(), labels, valid_fraction=0.2, test_fraction=0.1
  )
  actual = assign(split_columns(hashes(), labels=labels), FRACTIONS)
  assert list(actual) == list(expected)
  for split, rows in expected.items():
    np.testing.assert_array_equal(actual[split], rows)
    assert actual[split].dtype == rows.dtype


@pytest.mark.parametrize("folds", [3, 5, 10])
def test_each_example_is_in_the_test_split_of_one_fold(folds):
  columns = split_columns(hashes(), labels=random_labels(0))
  parts = folds_of(columns, folds)
  tested = np.concatenate([rows["test"] for rows in parts])
  assert sorted(tested.tolist()) == list(range(SIZE))
  for fold, rows in enumerate(parts):
    check_partition(rows)
    following = parts[(fold + 1) % folds]["test"]
    np.testing.assert_array_equal(rows["valid"], following)
    sizes = [len(rows["valid"]), len(rows["test"])]
    assert set(sizes) <= {SIZE // folds, SIZE // folds + 1}


@pytest.mark.parametrize("seed", range(3))
def test_folds_have_the_class_counts_of_stratified_k_fold(seed):
  labels = random_labels(seed)
  numbers = deal(np.array(hashes()), labels, 5)
  counts = [np.bincount(labels[numbers == fold]) for fold in range(5)]
  splitter = model_selection.StratifiedKFold(5)
  known = [
    np.bincount(labels[test])
    for _, test in splitter.split(np.zeros(SIZE), labels)
  ]
  for label in range(4):
    column = sorted(row[label] for row in counts)
    assert column == sorted(row[label] for row in known)
    assert max(column) - min(column) <= 1


def test_equal_examples_are_in_one_fold_whatever_their_labels():
  rng = np.random.default_rng(0)
  contents = rng.integers(0, 60, SIZE)
  names = np.array(holdout.hash_names(map(str, contents)))
  numbers = deal(names, random_labels(0), 5)
  distinct, first = np.unique(contents, return_index=True)
  by_content = numbers[first][np.searchsorted(distinct, contents)]
  np.testing.assert_array_equal(numbers, by_content)
  assert np.ptp(np.bincount(numbers[first])) <= 1
  mixed = rng.permutation(SIZE)
  again = deal(names[mixed], random_labels(0)[mixed], 5)
  np.testing.assert_array_equal(numbers[mixed], again)


def test_folds_do_not_depend_on_the_order_of_the_examples():
  labels, names = random_labels(0), np.array(hashes())
  mixed = np.random.default_rng(0).permutation(SIZE)
  for groups in (None, random_groups(0)):
    columns = split_columns(names, labels=labels, groups=groups)
    other = columns.take(mixed)
    for straight, shuffled in zip(
      *map(folds_of, (columns, other)), strict=True
    ):
      assert set(straight["test"]) == set(mixed[shuffled["test"]])


@pytest.mark.parametrize("settings", [{}, {"folds": 4, "fold": 1}], ids=str)
@pytest.mark.parametrize("labels", [None, random_labels(1)], ids=["none", "4"])
def test_no_group_is_in_two_splits(settings, labels):
  for seed in range(5):
    groups = random_groups(seed)
    columns = split_columns(hashes(), labels=labels, groups=groups)
    rows = assign(columns, FRACTIONS._replace(**settings))
    check_partition(rows)
    assert rows.keys() == {"train", "valid", "test"}
    owners = [set(groups[chosen]) for chosen in rows.values()]
    assert sum(map(len, owners)) == len(set(groups))


def test_folds_of_groups_have_the_sizes_of_group_k_fold():
  for seed in range(5):
    groups = random_groups(seed)
    actual = np.bincount(pack(groups, None, [0.2] * 5))
    splitter = model_selection.GroupKFold(5)
    known = [
      len(test) for _, test in splitter.split(np.zeros(SIZE), groups=groups)
    ]
    assert sorted(actual) == sorted(known)


def test_groups_are_stratified_as_well_as_by_scikit_learn():
  """The mean deviation from equal shares, over draws."""

  def deviation(labels, numbers):
    counts = [np.bincount(labels[numbers == i], minlength=4) for i in range(5)]
    return np.abs(np.array(counts) / np.bincount(labels) - 0.2).mean()

  mine, theirs = [], []
  for seed in range(10):
    labels, groups = random_labels(seed), random_groups(seed, 60)
    mine.append(deviation(labels, pack(groups, labels, [0.2] * 5)))
    splitter = model_selection.StratifiedGroupKFold(5)
    numbers = np.zeros(SIZE, int)
    split = splitter.split(np.zeros(SIZE), labels, groups)
    for fold, (_, test) in enumerate(split):
      numbers[test] = fold
    theirs.append(deviation(labels, numbers))
  assert np.mean(mine) <= np.mean(theirs)


def test_held_out_groups_have_nearly_their_share():
  groups = np.repeat(np.arange(100), 3)
  columns = split_columns(hashes(300), groups=groups)
  rows = assign(columns, FRACTIONS)
  assert abs(len(rows["test"]) - 30) <= 3
  assert abs(len(rows["valid"]) - 54) <= 3


def test_few_groups_leave_one_for_each_split():
  groups = np.repeat(["a", "b", "c"], [5, 60, 30])
  rows = assign(split_columns(hashes(95), groups=groups), FRACTIONS)
  assert {split: set(groups[chosen]) for split, chosen in rows.items()} == {
    "test": {"a"},
    "valid": {"c"},
    "train": {"b"},
  }


def test_the_latest_examples_are_test_and_those_before_them_valid():
  times = np.random.default_rng(0).permutation(100) / 7
  rows = assign(split_columns(hashes(100), times=times), FRACTIONS)
  check_partition(rows, 100)
  assert [len(rows[split]) for split in ("train", "valid", "test")] == [
    72,
    18,
    10,
  ]
  assert times[rows["train"]].max() < times[rows["valid"]].min()
  assert times[rows["valid"]].max() < times[rows["test"]].min()


def test_examples_of_equal_time_share_a_split():
  for seed in range(10):
    times = np.random.default_rng(seed).integers(12, size=SIZE)
    for settings in ({}, {"folds": 4, "fold": 2}):
      columns = split_columns(hashes(), times=times)
      rows = assign(columns, FRACTIONS._replace(**settings))
      used = [set(times[chosen]) for chosen in rows.values()]
      assert len(set().union(*used)) == sum(map(len, used))


@pytest.mark.parametrize("folds", [2, 5])
def test_folds_of_time_are_those_of_time_series_split(folds):
  times = np.random.default_rng(0).permutation(SIZE)
  splitter = model_selection.TimeSeriesSplit(folds)
  known = list(splitter.split(np.zeros(SIZE)))
  parts = folds_of(split_columns(hashes(), times=times), folds)
  for rows, (train, test) in zip(parts, known, strict=True):
    before = np.concatenate([rows["train"], rows["valid"]])
    assert sorted(times[before]) == train.tolist()
    assert sorted(times[rows["test"]]) == test.tolist()
    assert times[rows["train"]].max() < times[rows["valid"]].min()


@pytest.mark.parametrize(
  "convert",
  [
    np.asarray,
    lambda days: days / 3 - 5,
    lambda days: np.datetime64("2026-01-01") + days,
    lambda days: [datetime.date.fromordinal(1 + int(day)) for day in days],
    lambda days: (1 << 60) + days,
    lambda days: np.array([float(day) for day in days], object),
  ],
)
def test_times_are_numbers_or_dates(convert):
  days = np.random.default_rng(0).permutation(50)
  columns = split_columns(hashes(50), times=convert(days))
  np.testing.assert_array_equal(columns.times, days)


def test_a_column_names_the_splits():
  names = ["Train", "training", " val", "validation", "dev", "TEST", "testing"]
  rows = assign(split_columns(hashes(7), assigned=names), FRACTIONS)
  assert {split: chosen.tolist() for split, chosen in rows.items()} == {
    "train": [0, 1],
    "valid": [2, 3, 4],
    "test": [5, 6],
  }


@pytest.mark.parametrize("column", ["labels", "groups", "times"])
def test_a_split_that_the_column_lacks_is_held_out_of_its_train(column):
  names = np.where(np.arange(SIZE) % 3, "train", "test")
  values = np.arange(SIZE) // 3 % 20 + 20 * (names == "test")
  columns = split_columns(hashes(), assigned=names, **{column: values})
  rows = assign(columns, FRACTIONS)
  check_partition(rows)
  np.testing.assert_array_equal(rows["test"], np.flatnonzero(names == "test"))
  train = np.flatnonzero(names == "train")
  alone = columns.take(train)._replace(assigned=None)
  expected = assign(alone, FRACTIONS._replace(test_fraction=0.0))
  np.testing.assert_array_equal(rows["valid"], train[expected["valid"]])


def test_splits_of_their_own_are_not_held_out():
  columns = split_columns(hashes(), labels=random_labels(0))
  assert assign(columns, FRACTIONS, ("test",)).keys() == {"train", "valid"}
  assert assign(columns, FRACTIONS, ("valid",)).keys() == {"train", "test"}
  fold = SplitSettings(folds=2)
  assert assign(columns, fold, ("valid",)).keys() == {"train", "test"}
  fold = SplitSettings(folds=2, valid_fraction=0.0)
  assert assign(columns, fold).keys() == {"train", "test"}


def test_other_strata_take_the_place_of_the_labels():
  labels, strata = random_labels(0), random_labels(1)
  own = split_columns(hashes(), labels=labels, stratify=strata)
  assert own.strata.tolist() == strata.tolist()
  text = split_columns(hashes(), stratify=[f"s{value}" for value in strata])
  assert text.strata.tolist() == strata.tolist()
  for none in (
    split_columns(hashes(), labels=labels, stratify=False),
    split_columns(hashes(), labels=np.eye(4)[labels]),
    split_columns(hashes()),
  ):
    assert none.strata is None
  names = ("train", "valid", "test")
  rows = assign(own, FRACTIONS)
  share = [np.bincount(strata[rows[name]]) / len(rows[name]) for name in names]
  np.testing.assert_allclose(share[1:], [share[0]] * 2, atol=0.06)


@pytest.mark.parametrize("column", ["groups", "times", "assigned", "stratify"])
@pytest.mark.parametrize(
  ("values", "message"),
  [
    ([1.0, np.nan, 2.0], "got 1 in the rows 1\n"),
    ([None, "", " "], "got 3 in the rows 0, 1, 2\n"),
    ([1, 2], r"got the shape \[2\]"),
    ([[1], [2], [3]], r"got the shape \[3, 1\]"),
    (np.array(["2020", "NaT", "2021"], "datetime64[Y]"), "in the rows 1\n"),
  ],
)
def test_missing_values_and_other_lengths_are_refused(column, values, message):
  check_refused(message, split_columns, hashes(3), **{column: values})


@pytest.mark.parametrize(
  ("columns", "message"),
  [
    ({"assigned": ["train", "tset", "test"]}, "'tset' in row 1\ndid you mean"),
    ({"assigned": [0, 1, 2]}, "got '0' in row 0"),
    ({"times": ["2020-01-01", "b", "c"]}, "got .*'2020-01-01'.* in row 0"),
    ({"times": ["2020-01-01", 3.0, None]}, "got"),
    ({"times": [1.0, np.inf, 2.0]}, "got inf in row 1"),
    ({"times": [True, False, True]}, "of the dtype bool"),
  ],
)
def test_malformed_columns_are_refused(columns, message):
  check_refused(message, split_columns, hashes(3), **columns)


@pytest.mark.parametrize(
  ("columns", "settings", "message"),
  [
    ({"groups": [7] * 9}, {}, "got 9 examples in 1 groups"),
    ({"times": [7] * 9}, {}, "got 9 examples in 1 times"),
    ({"groups": list("aaabbbccc")}, {"folds": 4}, "at least 4 groups.*\ngot 3"),
    ({}, {"folds": 10}, "at least 10 examples, for folds=10\ngot 9\n"),
    ({"times": range(9)}, {"folds": 9}, "got 9 examples at 9 times"),
    ({"times": [1, 2] * 4 + [2]}, {"folds": 2}, "got 9 examples at 2 times"),
    ({}, {"folds": 2}, "at least 3 folds"),
    ({}, {"folds": 1}, "got folds=1, fold=0"),
    ({}, {"folds": -2}, "got folds=-2"),
    ({}, {"fold": 2}, "got folds=0, fold=2"),
    ({}, {"folds": 5, "fold": 5}, "fold from 0 to 4"),
    ({}, {"folds": 5, "fold": -1}, "fold from 0 to 4"),
    ({"groups": range(9), "times": range(9)}, {}, "got groups and times"),
    ({"assigned": ["train"] * 9}, {"folds": 3}, "got folds and a column"),
    ({"assigned": ["test"] * 9}, {}, "got test only"),
    (
      {"assigned": ["train"] * 8 + ["test"], "groups": [1] * 9},
      {},
      "row 8 in test and row 0 in train",
    ),
  ],
)
def test_rules_that_cannot_be_applied_are_refused(columns, settings, message):
  columns = split_columns(hashes(9), **columns)
  check_refused(message, assign, columns, FRACTIONS._replace(**settings))


def test_a_split_from_a_column_and_from_elsewhere_is_refused():
  columns = split_columns(hashes(3), assigned=["train", "test", "train"])
  check_refused("test either in", assign, columns, FRACTIONS, ("test",))


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"group": "patient", "time": "day"}, "got groups and times"),
    ({"split": "set", "folds": 5}, "got folds and a column of splits"),
    ({"folds": 3, "fold": 3}, "got fold=3"),
  ],
)
def test_settings_are_checked_before_any_data_is_read(settings, message):
  check_refused(message, SplitSettings(**settings).check)


def test_the_arguments_of_settings_are_those_without_columns():
  settings = SplitSettings(group="patient", folds=5, fold=2, stratify=False)
  assert settings.arguments() == {
    "valid_fraction": 0.1,
    "test_fraction": 0.0,
    "folds": 5,
    "fold": 2,
    "duplicates": "keep",
    "stratify": False,
  }
  assert SplitSettings().arguments()["stratify"] is None


def test_many_small_groups_have_exactly_their_share():
  size = 20_000
  groups = np.arange(size) // 2
  columns = SplitColumns(np.arange(size).astype(str), groups=groups)
  rows = assign(columns, FRACTIONS)
  assert len(rows["test"]) == pytest.approx(0.1 * size, abs=2)

"""Precision, equal values and bounds of tables."""

import datetime
import json
import logging
import resource

import numpy as np
import pytest

from dlcore import data, tasks
from dlcore.data.tables import csv_text, encoding
from dlcore.data.tables.table_schema import read_table
from dlcore.errors import UserError


@pytest.fixture
def table(tmp_path, caplog):
  """Writes a table and loads it, with the notes that were logged."""

  def table(lines, header="x,y", **settings):
    path = tmp_path / "own.csv"
    path.write_text("\n".join([header, *map(str, lines)]) + "\n")
    caplog.clear()
    caplog.set_level(logging.WARNING)
    splits = data.load(
      "table_csv",
      **{"path": str(path), "target": "y", **settings},
      cache_dir=str(tmp_path / "cache"),
    )
    return splits, "\n".join(caplog.messages)

  return table


def _all(splits, name):
  return np.concatenate([part.arrays[name] for part in splits if part])


def _refused(match, table, *arguments, **settings):
  with pytest.raises(UserError, match=match) as caught:
    table(*arguments, **settings)
  assert len(caught.value.lines) <= 3
  assert all(len(line) < 1000 for line in caught.value.lines)


TIMES = [1_700_000_000 + 100 * i / 71 for i in range(72)]
DAYS = [
  int(
    (datetime.date(2000, 1, 1) + datetime.timedelta(31 * i)).strftime(pattern)
  )
  for i in range(280)
  for pattern in ["%Y%m%d"]
]


@pytest.mark.parametrize("values", [TIMES, DAYS, [1e15 + i for i in range(50)]])
def test_values_that_differ_stay_apart_as_features_and_as_targets(
  table, values
):
  splits, notes = table([f"{x!r},{x!r}" for x in values])
  schema = splits.train.info.schema
  assert "subtracted before the rounding to float32: " in notes
  assert "from 'x'" in notes
  assert "from 'y'" in notes
  order = np.argsort(_all(splits, "features")[:, 0])
  features = _all(splits, "features")[order, 0].astype(np.float64)
  targets = _all(splits, "target")[order].astype(np.float64)
  assert len(np.unique(features)) == len(values)
  deviation = np.std(values)
  for array, offset in (
    (features, schema.offsets[0]),
    (targets, schema.target_offset),
  ):
    error = np.abs(array + offset - sorted(values)).max()
    assert error < 1e-6 * deviation
  mean, std = (schema.normalization[key][0] for key in ("mean", "std"))
  np.testing.assert_allclose(std, deviation, rtol=0.2)
  assert abs(mean) < std


def test_integers_stay_integers(table):
  splits, _ = table([f"{x},{x}" for x in DAYS])
  for name in ("features", "target"):
    array = _all(splits, name)
    np.testing.assert_array_equal(array, np.rint(array))


def test_a_regression_predicts_in_the_units_of_the_file(table):
  splits, _ = table([f"{x!r},{x!r}" for x in TIMES])
  info = splits.train.info
  kind = tasks.TASKS["regression"]
  for prediction, target in zip(
    splits.test.arrays["target"],
    splits.test.arrays["features"][:, 0],
    strict=True,
  ):
    answer = kind.to_json({"prediction": prediction}, info)["prediction"]
    assert min(abs(answer - time) for time in TIMES) < 1e-5
    assert prediction == target


def test_predicting_subtracts_what_training_did(table, tmp_path):
  splits, _ = table([f"{x!r},{i % 3}" for i, x in enumerate(TIMES)])
  content = json.loads(json.dumps(data.info_to_json(splits.train.info)))
  info = data.info_from_json(content)
  assert info == splits.train.info
  batches = list(info.schema.read([tmp_path / "own.csv"], info, 50))
  assert [len(batch.names) for batch in batches] == [50, 22]
  features = np.concatenate([batch.arrays["features"] for batch in batches])
  np.testing.assert_array_equal(
    np.sort(features, 0), np.sort(_all(splits, "features"), 0)
  )


def test_columns_that_float32_holds_are_as_before(table):
  lines = [f"{i / 7},{2000 + i},{'ab'[i % 2]},{i % 3}" for i in range(60)]
  settings = {"header": "u,year,c,y", "categorical": ("c",)}
  shifted, notes = table(lines, **settings)
  plain, _ = table(lines, **settings, shift=False)
  assert notes == ""
  assert [part.info for part in shifted] == [part.info for part in plain]
  content = data.info_to_json(shifted.train.info)["schema"]
  assert not {"offsets", "target_offset"} & content.keys()


def test_without_a_shift_float32_rounds_as_it_did(table):
  splits, notes = table([f"{x!r},{x!r}" for x in TIMES], shift=False)
  # Rounded, many of the rows are equal.
  assert all("occur in another split" in note for note in notes.splitlines())
  assert splits.train.info.schema.offsets is None
  expected = np.sort(np.float32(TIMES))
  np.testing.assert_array_equal(np.sort(_all(splits, "target")), expected)


def test_constant_columns_need_no_offset(table):
  splits, notes = table([f"0.1,{i / 7}" for i in range(50)])
  assert notes == ""
  assert splits.train.info.schema.offsets is None


@pytest.mark.parametrize("field", ["offsets", "target_offset"])
@pytest.mark.parametrize("value", ["x", [1.0, 2.0], [None], {}, True])
def test_malformed_offsets_are_refused(table, field, value):
  splits, _ = table([f"{i},{i / 7}" for i in range(50)])
  content = data.info_to_json(splits.train.info)
  content["schema"][field] = value
  with pytest.raises(ValueError, match=field):
    data.info_from_json(content)


def test_equal_numbers_are_one_class_and_this_is_noted(table):
  lines = [f"{i},{('0', '1', '1.0', '0.0', '01')[i % 5]}" for i in range(100)]
  splits, notes = table(lines)
  assert splits.train.info.schema.classes == ("0", "1")
  assert (
    "equal numbers in 'y' count as one: '0' and '0.0'; '01' and '1' and"
    in (notes)
  )
  features = _all(splits, "features")[:, 0].astype(int)
  np.testing.assert_array_equal(
    _all(splits, "label"), np.isin(features % 5, [1, 2, 4])
  )


def test_many_spellings_of_few_integers_are_classes(table):
  lines = [f"{i},{i % 15}{'.0' if i % 2 else ''}" for i in range(120)]
  schema = table(lines)[0].train.info.schema
  assert len(schema.classes) == 15


def test_equal_numbers_among_text_stay_apart_and_this_is_noted(table):
  lines = [f"{i},{('1', '1.0', 'none')[i % 3]}" for i in range(60)]
  splits, notes = table(lines)
  assert splits.train.info.schema.classes == ("1", "1.0", "none")
  assert "equal numbers in 'y' are different" in notes


def test_another_split_may_write_a_class_in_another_form(table, tmp_path):
  test = tmp_path / "test.csv"
  test.write_text("x,y\n1,1.0\n2,0.0\n3,1\n")
  train = tmp_path / "own.csv"
  splits, _ = table(
    [f"{i},{i % 2}" for i in range(40)],
    path="",
    train=str(train),
    test=str(test),
  )
  assert splits.test.arrays["label"].tolist() == [1, 0, 1]
  test.write_text("x,y\n1,2.0\n2,0.0\n3,1\n")
  lines = [f"{i},{i % 2}" for i in range(40)]
  _refused(
    "'2.0' in test only",
    table,
    lines,
    path="",
    train=str(train),
    test=str(test),
  )


def test_equal_numbers_are_one_category_in_training_and_prediction(
  table, tmp_path
):
  lines = [f"{('1', '2', '1.0')[i % 3]},{i % 2}" for i in range(60)]
  splits, notes = table(lines, categorical=("x",))
  schema = splits.train.info.schema
  assert schema.columns == ("x=1", "x=2")
  assert "equal numbers in 'x' count as one: '1' and '1.0'" in notes
  other = tmp_path / "other.csv"
  other.write_text("x\n1.00\n2e0\n3\n")
  features, _, errors = read_table(other, schema)
  np.testing.assert_array_equal(features, [[1, 0], [0, 1]])
  assert len(errors) == 1


def test_an_integer_target_points_to_the_setting_of_regression(table):
  splits, _ = table([f"{i},{i % 7}" for i in range(70)])
  with pytest.raises(UserError, match=r'data\.task="regression"') as caught:
    tasks.TASKS["regression"].check_data(splits.train.info)
  assert len(caught.value.lines) == 3
  splits, _ = table([f"{i},{'ab'[i % 2]}" for i in range(70)])
  with pytest.raises(UserError, match="use the task 'classification'"):
    tasks.TASKS["regression"].check_data(splits.train.info)


def test_too_many_columns_are_refused(table, monkeypatch):
  header = ",".join([f"c{i}" for i in range(100_000)] + ["y"])
  lines = [",".join(["1"] * 100_001)] * 2
  _refused("at most 65,536 columns", table, lines, header=header)


def test_wide_tables_are_read_in_linear_time(table):
  width = 20_000
  header = ",".join([f"c{i}" for i in range(width)] + ["y"])
  lines = [",".join(["1"] * width + [str(i % 2)]) for i in range(20)]
  splits, _ = table(lines, header=header)
  assert splits.train.arrays["features"].shape[1] == width
  _refused("did you mean 'c1'|choose from", table, lines, header, target="z")


@pytest.mark.parametrize("column", ["x", "y"])
def test_too_many_categories_are_refused(table, column):
  lines = [f"v{i},v{i}" for i in range(10_001)]
  settings = {"categorical": ("x",)} if column == "x" else {}
  if column == "y":
    lines = [f"{i},v{i}" for i in range(10_001)]
  _refused("at most 10,000 distinct values", table, lines, **settings)


def test_too_many_numbers_are_refused_before_they_are_allocated(
  table, monkeypatch
):
  lines = [f"v{i % 100},{i % 2}" for i in range(2000)]
  monkeypatch.setattr(encoding, "MAX_VALUES", 100_000)
  _refused("at most 100,000 numbers", table, lines, categorical=("x",))
  monkeypatch.setattr(encoding, "MAX_VALUES", 3_000)
  _refused("at most 3,000 numbers", table, [f"{i},1.5" for i in range(2000)])


def test_too_many_bad_rows_are_refused(table, monkeypatch):
  monkeypatch.setattr(encoding, "MAX_ERRORS", 100)
  _refused(
    "more than 100 bad rows, the first in line 2",
    table,
    ["x,1"] * 200,
    on_bad="skip",
  )


@pytest.mark.parametrize(
  "row", ["9" * 5000, '"' + "9\n" * 3000, '"a\n",' * 1000, "1," * 3000]
)
def test_long_rows_are_refused(table, monkeypatch, row):
  monkeypatch.setattr(csv_text, "MAX_ROW", 4096)
  for lines in (["1,2", row], [row]):
    _refused("more than 4,096 characters", table, ["1,2", *lines])
  _refused("got line 1: more than 4,096 ch", table, ["1,2"], header=row)


def test_a_line_of_a_gigabyte_is_refused_in_bounded_memory(
  tmp_path, peak_memory
):
  path = tmp_path / "long.csv"
  with path.open("wb") as file:
    file.write(b"1" * (17 << 20))
    file.truncate(1 << 30)  # Zeros: a sparse file.
  program = (
    "from dlcore import data\n"
    "from dlcore.errors import UserError\n"
    "try:\n"
    f"  data.load('table_csv', path={str(path)!r}, target='y',"
    f" cache_dir={str(tmp_path / 'cache')!r})\n"
    "except UserError as error:\n"
    "  print(error.lines[1])\n"
  )
  [message], peak = peak_memory(program)
  assert "more than 16,777,216 characters" in message
  assert peak < 500_000  # Kilobytes.


def test_ten_thousand_classes_are_held_out_in_linear_time():
  labels = np.repeat(np.arange(50_000), 4)
  hashes = np.random.default_rng(0).permutation(len(labels)).astype(str)
  start = resource.getrusage(resource.RUSAGE_SELF).ru_utime
  chosen = data.hold_out(hashes, labels, 0.25)
  assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - start < 5
  np.testing.assert_array_equal(np.bincount(labels[chosen]), 1)


@pytest.mark.parametrize(
  ("values", "classes"),
  [
    (range(20), True),
    (range(21), False),
    ([*range(18), "x", "y"], True),
    ([*range(27), "x", "y", "z"], False),
    ([*range(26), "x", "y", "z"], True),
    ([0.5, 1], False),
  ],
)
def test_a_target_of_up_to_20_integers_or_with_many_names_is_a_class(
  values, classes
):
  assert encoding.are_classes([*map(str, values)]) == classes

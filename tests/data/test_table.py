import json
import logging
import pathlib

import numpy as np
import pytest

from dlcore import data
from dlcore.data import bad_examples
from dlcore.data.tables.table_schema import read_table
from dlcore.errors import UserError


@pytest.fixture
def table(tmp_path, caplog):
  """Writes a table and loads it, with the notes that were logged."""

  def table(text, encoding="utf-8", **settings):
    path = tmp_path / "own.csv"
    path.write_bytes(text.encode(encoding))
    caplog.clear()
    caplog.set_level(logging.WARNING)
    splits = data.load(
      "table_csv",
      **{"path": str(path), "target": "y", **settings},
      cache_dir=str(tmp_path / "cache"),
    )
    return splits, "\n".join(caplog.messages)

  return table


def _rows(count=50, separator=",", line="{a}{s}{b}{s}{y}\n"):
  header = separator.join(["a", "b", "y"]) + "\n"
  return header + "".join(
    line.format(a=i, b=i / 4, y="no" if i % 2 else "yes", s=separator)
    for i in range(count)
  )


def _refused(match, table, *arguments, **settings):
  with pytest.raises(UserError, match=match) as caught:
    table(*arguments, **settings)
  assert len(caught.value.lines) <= 3
  return str(caught.value)


def test_a_table_is_split_and_normalized_over_train(table):
  splits, notes = table(_rows())
  assert [part.size for part in splits] == [36, 4, 10]
  train = splits.train
  assert train.info.schema.classes == ("no", "yes")
  assert train.info.schema.columns == ("a", "b")
  features, labels = train.arrays["features"], train.arrays["label"]
  np.testing.assert_array_equal(features[:, 0] % 2 == 0, labels == 1)
  np.testing.assert_allclose(
    train.info.schema.normalization["mean"], features.mean(0), rtol=1e-6
  )
  assert (features.dtype, labels.dtype) == (np.float32, np.int32)
  assert notes == ""


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_separators_byte_order_marks_and_quotes(table, separator, encoding):
  text = _rows(separator=separator, line='"{a}"{s} {b} {s}"{y}"\r\n')
  splits, _ = table(text, encoding)
  plain, _ = table(_rows())
  assert splits.train.info.sha256 == plain.train.info.sha256


def test_the_order_of_the_rows_does_not_move_them_between_splits(table):
  header, *lines = _rows().splitlines(keepends=True)
  first, _ = table("".join([header, *lines]))
  second, _ = table("".join([header, *lines[::-1]]))
  for one, other in zip(first, second, strict=True):
    assert sorted(map(tuple, one.arrays["features"])) == sorted(
      map(tuple, other.arrays["features"])
    )


def test_the_task_follows_from_the_target(table):
  numbers = "a,y\n" + "".join(f"{i},{i * 1.5}\n" for i in range(40))
  splits, _ = table(numbers)
  actual = splits.train.info.schema.target_normalization
  targets = splits.train.arrays["target"]
  np.testing.assert_allclose(actual["mean"], targets.mean(), rtol=1e-6)
  np.testing.assert_allclose(actual["std"], targets.std(), rtol=1e-6)
  digits = "a,y\n" + "".join(f"{i},{i % 11}\n" for i in range(110))
  classes = table(digits)[0].train.info.schema.classes
  assert classes == tuple(map(str, range(11)))
  forced, _ = table(digits, task="regression")
  assert forced.train.info.schema.target == "target"
  _refused("expected task to be 'auto'", table, digits, task="clasification")


def test_categories_become_one_feature_each(table):
  text = "color,y\n" + "red,0\nblue,1\n" * 20
  _refused("'red', not a number, in column 'color'", table, text)
  splits, _ = table(text, categorical=("color",))
  assert splits.train.info.schema.columns == ("color=blue", "color=red")
  arrays = splits.train.arrays
  np.testing.assert_array_equal(arrays["features"][:, 0], arrays["label"])
  np.testing.assert_array_equal(arrays["features"].sum(axis=1), 1)


def test_missing_names_are_answered_with_the_nearest(table, tmp_path):
  _refused("did you mean 'y'|choose from: a, b, y", table, _rows(), target="z")
  text = "length,y\n1,2\n"
  for setting in ("columns", "categorical"):
    _refused("did you mean 'length'", table, text, **{setting: ("lenght",)})
  _refused("expected target", table, _rows(), target="")
  _refused("without the target", table, _rows(), columns=("a", "y"))
  _refused("no file at", table, "", path=str(tmp_path / "gone.csv"))
  _refused("expected path, or train", table, "", path="")


@pytest.mark.parametrize(
  ("text", "match"),
  [
    ("", "an empty file"),
    ("a,y\n", "no rows"),
    ("a,a,y\n1,2,3\n", "'a' twice"),
    ("a,,y\n1,2,3\n", "a name for every column"),
    ("1,2\n3,4\n", "a name for every column"),
    ('a,y\n"1,2\n', "expected a table"),
    ("a,y\n1,\xff\n", "UTF-8"),
  ],
)
def test_files_that_are_not_tables_are_refused(table, text, match):
  _refused(match, table, text, encoding="latin-1")


@pytest.mark.parametrize(
  ("line", "reason"),
  [
    ("x,1,yes", "'x', not a number, in column 'a'"),
    (",1,yes", "an empty cell in column 'a'"),
    ("1,nan,yes", "nan, not a finite float32, in column 'b'"),
    ("1,-inf,yes", "-inf, not a finite float32, in column 'b'"),
    ("1,1e300,yes", "1e300, not a finite float32, in column 'b'"),
    ("1,2,", "an empty cell in column 'y'"),
    ("1,2", "2 fields in place of 3"),
    ("1,2,yes,4", "4 fields in place of 3"),
  ],
)
def test_bad_rows_are_listed_by_line_or_skipped(table, line, reason):
  text = _rows() + line + "\n"
  message = _refused("got 1 bad rows", table, text)
  assert f"own.csv:52: {reason}" in message
  splits, notes = table(text, on_bad="skip")
  assert sum(part.size for part in splits) == 50
  assert "1 bad rows were skipped" in notes
  _refused("expected on_bad", table, text, on_bad="drop")


def test_a_table_without_a_readable_row_is_refused_even_if_skipping(table):
  _refused("got 2 bad rows", table, "a,y\nx,1\nz,2\n", on_bad="skip")


def test_a_line_number_counts_lines_not_rows(table):
  text = _rows(40) + '"1\n\n1",2,yes\nx,1,no\n'
  message = _refused("got 2 bad rows", table, text)
  assert "own.csv:42: " in message
  assert "own.csv:45: 'x'" in message


def test_a_target_with_a_single_class_is_reported(table):
  splits, notes = table(_rows().replace("no", "yes"))
  assert splits.train.info.schema.classes == ("yes",)
  assert "all examples have the class 'yes'" in notes


def test_quoted_fields_may_hold_separators_and_line_breaks(table):
  text = 'text,y\n"one, \n""two""",0\n"one; two",1\n'
  splits, _ = table(text + text.split("\n", 1)[1] * 20, categorical=("text",))
  columns = splits.train.info.schema.columns
  assert columns == ('text=one, \n"two"', "text=one; two")


def test_an_unreadable_file_is_reported(table, monkeypatch):
  opened = pathlib.Path.open

  def deny(path, mode="r", **settings):
    if path.suffix == ".csv" and "r" in mode:
      raise PermissionError(13, "Permission denied")
    return opened(path, mode, **settings)

  monkeypatch.setattr(pathlib.Path, "open", deny)
  _refused("got: Permission denied", table, _rows())


def test_a_message_lists_ten_bad_rows(table):
  message = _refused("got 25 bad rows", table, _rows() + "x,1,yes\n" * 25)
  assert message.count("not a number") == 10
  assert "; and 15 more" in message


@pytest.mark.parametrize(("count", "end"), [(9, "8"), (10, "9")])
def test_ten_items_are_listed(count, end):
  assert bad_examples.shorten(map(str, range(count))).endswith(f", {end}")
  assert bad_examples.shorten("x" * 11).endswith(", x, and 1 more")


def test_skipping_all_rows_of_one_split_is_refused(table, tmp_path):
  train, test = tmp_path / "train.csv", tmp_path / "test.csv"
  train.write_text(_rows())
  test.write_text("a,b,y\nx,2,yes\n")
  paths = {"path": "", "train": str(train), "test": str(test)}
  _refused("got 1 bad rows", table, "", on_bad="skip", **paths)


def test_a_class_that_only_one_split_has(table, tmp_path):
  train, test = tmp_path / "train.csv", tmp_path / "test.csv"
  train.write_text(_rows())
  test.write_text("a,b,y\n1,2,yes\n")
  paths = {"path": "", "train": str(train), "test": str(test)}
  splits, notes = table("", **paths)
  assert "test has no examples of the classes 'no'" in notes
  assert [part.size for part in splits] == [46, 4, 1]
  test.write_text("a,b,y\n1,2,maybe\n")
  _refused("'maybe' in test only", table, "", **paths)


def test_predicting_reads_a_table_as_training_did(table, tmp_path):
  lines = [f"{i},{'red' if i % 3 else 'blue'},{i % 2}\n" for i in range(40)]
  text = "a,color,y\n" + "".join(lines)
  splits, _ = table(text, categorical=("color",))
  content = json.loads(json.dumps(data.info_to_json(splits.train.info)))
  schema = data.info_from_json(content).schema
  other = tmp_path / "other.csv"
  other.write_text("color,more,a\nred,x,1\nblue,y,2.5\n")
  features, names, bad = read_table(other, schema)
  np.testing.assert_array_equal(features, [[1, 0, 1], [2.5, 1, 0]])
  assert features.dtype == np.float32
  assert names == [f"{other}:2", f"{other}:3"]
  assert bad == []
  other.write_text("color,a\ngreen,1\nred,2\nblue,x\nred\n")
  features, names, bad = read_table(other, schema)
  np.testing.assert_array_equal(features, [[2, 0, 1]])
  assert names == [f"{other}:3"]
  assert bad == [
    (f"{other}:2", "'green', which train does not have, in column 'color'"),
    (f"{other}:4", "'x', not a number, in column 'a'"),
    (f"{other}:5", "1 fields in place of 2"),
  ]
  other.write_text("color,a\ngreen,1\n")
  features, names, bad = read_table(other, schema)
  assert (features.shape, names, len(bad)) == ((0, 3), [], 1)
  with pytest.raises(UserError, match="no file at"):
    read_table(tmp_path / "gone.csv", schema)
  other.write_text("a\n1\n")
  with pytest.raises(UserError, match="expected a column 'color'"):
    read_table(other, schema)


def test_an_embedded_table_is_read_by_its_columns(tmp_path):
  schema = data.load("diabetes").train.info.schema
  path = tmp_path / "patients.csv"
  columns = schema.columns
  path.write_text(
    ",".join(columns) + "\n" + ",".join(map(str, range(len(columns)))) + "\n"
  )
  features, _, _ = read_table(path, schema)
  np.testing.assert_array_equal(features, [np.arange(len(columns))])


def test_tables_at_two_paths_are_both_cached(table, tmp_path):
  for name in ("one.csv", "other.csv"):
    (tmp_path / name).write_text(_rows())
    table("", path=str(tmp_path / name))
  assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_rare_class_that_is_not_held_out_is_reported(table):
  splits, notes = table(_rows() + "1,2,rare\n")
  assert "valid has no examples of the classes 'rare'" in notes
  assert "test has no examples of the classes 'rare'" in notes
  assert splits.train.info.schema.classes == ("no", "rare", "yes")
  assert table(_rows())[1] == ""

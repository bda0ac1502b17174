"""The data set of tables as they are: settings, notes and predictions."""

import json
import logging
import random

import numpy as np
import pytest

from dlcore import data
from dlcore.errors import UserError


@pytest.fixture
def table(tmp_path, caplog):
  """Writes columns as a table and loads it, with the notes."""

  def table(content, name="own.csv", **settings):
    path = tmp_path / name
    rows = zip(*content.values(), strict=True)
    lines = [",".join(content), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    caplog.clear()
    caplog.set_level(logging.WARNING)
    splits = data.load(
      "table_file",
      **{"path": str(path), "target": "y", **settings},
      cache_dir=str(tmp_path / "cache"),
    )
    return splits, "\n".join(caplog.messages)

  return table


def _columns(count=200, **more):
  rng = random.Random(0)
  return {
    "a": [rng.randint(0, 9) for _ in range(count)],
    "b": [rng.choice(["red", "blue", ""]) for _ in range(count)],
    "y": [rng.choice(["no", "yes"]) for _ in range(count)],
    **more,
  }


def _all(splits, name):
  return np.concatenate([part.arrays[name] for part in splits if part])


def _refused(match, table, *arguments, **settings):
  with pytest.raises(UserError, match=match) as caught:
    table(*arguments, **settings)
  assert len(caught.value.lines) <= 3
  assert all(len(line) < 1000 for line in caught.value.lines)


def test_every_change_of_a_column_is_one_note(table):
  count = 200
  splits, notes = table(
    _columns(
      count,
      **{
        "Unnamed: 0": range(count),
        "name": [f"Person {i}" for i in range(count)],
        "gap": [i if i % 5 else "?" for i in range(count)],
        "when": [f"{1 + i % 28}/{1 + i % 12}/2020" for i in range(count)],
        "one": ["x"] * count,
        "none": [""] * count,
        "bad": [i if i else "unknown" for i in range(count)],
      },
    )
  )
  for column, change in {
    "Unnamed: 0": "left out, as it numbers the rows",
    "name": "left out, as 144 different texts in 144 rows are names",
    "gap": "imputed by the median",
    "when": "dates as %d/%m/%Y: time, year, week",
    "one": "left out, as it has one value",
    "none": "left out, as all cells are empty",
    "b": "training cells are missing, a category of their own",
  }.items():
    lines = [
      line for line in notes.splitlines() if f"column {column!r}" in line
    ]
    assert len(lines) == 1
    assert change in lines[0]
  assert "target 'y': classification of 2 classes" in notes
  assert 'task="..." changes this' in notes
  assert splits.train.info.schema.columns[:5] == (
    "a", "b=blue", "b=red", "b=(missing)", "gap",
  )  # fmt: skip


def test_only_numbers_and_times_are_normalized(table):
  splits, _ = table(_columns())
  schema = splits.train.info.schema
  features = splits.train.arrays["features"].astype(np.float64)
  assert schema.columns == ("a", "b=blue", "b=red", "b=(missing)")
  mean, std = (schema.normalization[key] for key in ("mean", "std"))
  np.testing.assert_allclose(mean, [features[:, 0].mean(), 0, 0, 0], rtol=1e-6)
  np.testing.assert_allclose(std, [features[:, 0].std(), 1, 1, 1], rtol=1e-6)


def test_statistics_do_not_depend_on_held_out_rows(table):
  count = 300
  columns = _columns(count, x=[i if i % 4 else "" for i in range(count)])
  splits, _ = table(columns)
  [plan] = [p for p in splits.train.info.schema.plan if p.name == "x"]
  features, names = (
    splits.train.arrays["features"],
    (splits.train.info.schema.columns),
  )
  values = features[:, names.index("x")]
  missing = features[:, names.index("x=(missing)")] == 1
  assert plan.fill == np.median(values[~missing])
  assert (values[missing] == plan.fill).all()


def test_the_order_of_rows_and_other_rows_do_not_move_a_row(table):
  columns = _columns(x=range(200))
  first, _ = table(columns)
  backwards = {name: list(cells)[::-1] for name, cells in columns.items()}
  second, _ = table(backwards, "other.csv")
  for one, other in zip(first, second, strict=True):
    assert sorted(map(tuple, one.arrays["features"])) == sorted(
      map(tuple, other.arrays["features"])
    )


def test_rare_categories_count_as_one_and_new_ones_join_them(table, tmp_path):
  cells = [f"c{i % 3}" for i in range(200)]
  cells[:10] = [f"rare{i}" for i in range(10)]
  splits, notes = table(_columns(c=cells))
  schema = splits.train.info.schema
  assert [n for n in schema.columns if n.startswith("c=")] == [
    "c=c0", "c=c1", "c=c2", "c=(other)",
  ]  # fmt: skip
  assert "are rare and count as '(other)'" in notes
  (tmp_path / "new.csv").write_text("c,b,a\nnever seen,red,1\nc1,,?\n")
  info = splits.train.info
  [batch] = info.schema.read([tmp_path / "new.csv"], info, 10)
  rows = [
    dict(zip(schema.columns, row, strict=True))
    for row in batch.arrays["features"].tolist()
  ]
  assert (rows[0]["c=(other)"], rows[0]["c=c1"]) == (1, 0)
  assert (rows[1]["c=(other)"], rows[1]["c=c1"]) == (0, 1)
  assert rows[1]["b=(missing)"] == 1
  assert batch.errors == []


def test_missing_cells_are_errors_or_skipped_by_one_setting(table, tmp_path):
  columns = _columns(x=[i if i % 10 else "" for i in range(200)], b=[1] * 200)
  _refused("got 20 rows with missing cells: .*own.csv:2: an empty cell in col"
           "umn 'x'", table, columns, missing="error")  # fmt: skip
  splits, notes = table(columns, missing="skip")
  assert sum(part.size for part in splits) == 180
  assert "20 rows with missing cells were skipped" in notes
  info = splits.train.info
  assert info.schema.columns == ("a", "x")
  (tmp_path / "new.csv").write_text("a,x\n1,2\n1,\n,3\n4,5\n")
  [batch] = info.schema.read([tmp_path / "new.csv"], info, 10)
  assert [name.rpartition(":")[2] for name in batch.names] == ["2", "5"]
  assert [reason for _, reason in batch.errors] == [
    "an empty cell in column 'x'",
    "an empty cell in column 'a'",
  ]
  _refused("expected missing to be 'impute'", table, columns, missing="x")


def test_rows_without_a_target_are_left_out_with_a_note(table):
  columns = _columns()
  columns["y"][:7] = ["", "NA", "?", "", "", "", ""]
  splits, notes = table(columns)
  assert sum(part.size for part in splits) == 193
  assert "7 rows with missing cells were skipped" in notes
  _refused("no target", table, columns, missing="error")


def test_rows_with_other_numbers_of_fields_are_errors_or_skipped(table):
  columns = _columns(50)
  columns["y"][3] = "yes,1"
  _refused(
    "got 1 bad rows: .*own.csv:5: 4 fields in place of 3", table, columns
  )
  splits, notes = table(columns, on_bad="skip")
  assert sum(part.size for part in splits) == 49
  assert "1 bad rows were skipped" in notes


@pytest.mark.parametrize(
  ("cells", "task", "classes"),
  [
    (["no", "yes"], "classification", ("no", "yes")),
    (["True", "False"], "classification", ("False", "True")),
    (["2", "10"], "classification", ("2", "10")),
    (["1.0", "1", "2"], "classification", ("1", "2")),
    ([f"{i}" for i in range(30)], "regression", ()),
    (["0.5", "1"], "regression", ()),
    (["10 %", "25 %"], "regression", ()),
    (["a;b", "b", "a;c", "c", "a"], "multilabel", ("a", "b", "c")),
  ],
)
def test_the_task_follows_from_the_target(table, cells, task, classes):
  splits, notes = table(_columns(y=(cells * 200)[:200]))
  schema = splits.train.info.schema
  assert f"target 'y': {task}" in notes
  assert schema.classes == classes
  assert schema.multilabel == (task == "multilabel")
  assert schema.target == ("target" if task == "regression" else "label")


def test_a_target_of_names_dates_or_other_types_names_the_setting(table):
  names = _columns(y=[f"n{i}" for i in range(200)])
  _refused("200 different texts.*\n.*set task", table, names)
  days = _columns(y=[f"{1800 + i}-01-05" for i in range(200)])
  _refused("set task", table, days)
  _refused("set task", table, _columns(), task="regression")
  _refused("empty cells only", table, _columns(y=[""] * 200))
  _refused("expected task to be", table, _columns(), task="clasification")


def test_several_labels_are_zeros_and_ones(table):
  cells = ["a;b", "b", "", "c; a"] * 50
  splits, _ = table(_columns(y=cells, i=[i % 4 for i in range(200)]))
  labels, features = _all(splits, "label"), _all(splits, "features")
  column = splits.train.info.schema.columns.index("i")
  assert (labels.dtype, labels.shape) == (np.float32, (200, 3))
  expected = np.asarray([[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1]])
  which = features[:, column].astype(int)
  np.testing.assert_array_equal(labels, expected[which])


def test_several_target_columns_are_labels(table):
  columns = _columns(u=[i % 2 for i in range(200)], v=["yes", "no"] * 100)
  splits, _ = table(columns, target="", targets=("u", "v"))
  schema = splits.train.info.schema
  assert (schema.classes, schema.multilabel) == (("u", "v"), True)
  assert not {"u", "v"} & set(schema.columns)
  labels = _all(splits, "label")
  np.testing.assert_array_equal(labels[:, 0], 1 - labels[:, 1])
  _refused("expected 0 or 1", table, columns, target="", targets=("u", "a"))
  _refused("expected target to name", table, columns, targets=("u", "v"))


def test_skewed_positive_targets_are_learned_by_their_logarithm(table):
  rng = np.random.default_rng(0)
  skewed = np.exp(rng.normal(0, 1.5, 400)).round(4) + 1e-3
  splits, notes = table(_columns(400, y=skewed))
  train = splits.train
  schema, logs = train.info.schema, np.log(train.arrays["target"])
  assert "the model learns its logarithm" in notes
  assert schema.target_transform == "log"
  moments = schema.transformed_normalization
  np.testing.assert_allclose(moments["mean"], logs.mean(), rtol=1e-4)
  np.testing.assert_allclose(moments["std"], logs.std(), rtol=1e-4)
  assert sorted(_all(splits, "target")) == sorted(np.float32(skewed))
  for values, settings in (
    (skewed, {"target_transform": "none"}),
    (skewed - 1, {}),
    (rng.normal(9, 1, 400), {}),
  ):
    schema = table(_columns(400, y=values), **settings)[0].train.info.schema
    assert schema.target_transform == "none"
  _refused(
    "numbers above 0", table, _columns(400, y=skewed - 1),
    target_transform="log",
  )  # fmt: skip


def test_weights_of_rows_are_an_array(table):
  columns = _columns(w=[0.5 + i % 3 for i in range(200)])
  splits, _ = table(columns, weight="w", exclude=("b",))
  assert splits.train.info.schema.columns == ("a",)
  assert sorted(_all(splits, "weight")) == sorted(np.float32(columns["w"]))
  columns["w"][0] = -1
  _refused("weights of at least 0", table, columns, weight="w")
  columns["w"][0] = "heavy"
  _refused("'heavy'", table, columns, weight="w")


def test_misspelled_columns_are_answered_with_the_nearest(table):
  columns = _columns(length=range(200))
  for setting in ("target", "weight"):
    _refused("did you mean 'length'", table, columns, **{setting: "lenght"})
  for setting in ("columns", "exclude", "categorical"):
    _refused("did you mean 'length'", table, columns, **{setting: ("lenght",)})
  _refused("expected target to name", table, columns, target="")
  _refused("without the target", table, columns, columns=("a", "y"))
  spaced = {"a b y": ["1 2 u"] * 9}
  _refused("separate the columns by commas", table, spaced)


def test_a_test_file_needs_the_columns_and_classes_of_train(table, tmp_path):
  own = {"path": "", "train": str(tmp_path / "own.csv")}
  test = tmp_path / "test.csv"
  test.write_text("a,b,y\n1,red,no\n2,,yes\n")
  splits, _ = table(_columns(), **own, test=str(test))
  assert splits.test.size == 2
  assert splits.valid.size == 20
  test.write_text("a,b,y\n1,red,maybe\n")
  _refused("'maybe' in test only", table, _columns(), **own, test=str(test))
  test.write_text("a,b\n1,red\n")
  _refused("expected a column 'y'", table, _columns(), **own, test=str(test))


def test_the_encoding_survives_json_and_reads_files_and_frames(table, tmp_path):
  when = [f"2020-0{1 + i % 9}-11" for i in range(200)]
  columns = _columns(when=when, x=[i if i % 4 else "" for i in range(200)])
  splits, _ = table(columns)
  content = json.loads(json.dumps(data.info_to_json(splits.train.info)))
  info = data.info_from_json(content)
  assert info == splits.train.info
  batches = list(info.schema.read([tmp_path / "own.csv"], info, 64))
  assert [len(batch.names) for batch in batches] == [64, 64, 64, 8]
  features = np.concatenate([batch.arrays["features"] for batch in batches])
  assert sorted(map(tuple, features)) == sorted(
    map(tuple, _all(splits, "features"))
  )

  class Frame:
    def __init__(self):
      self.columns = tuple(columns)

    def __getitem__(self, name):
      return [None if x == "" else x for x in columns[name]]

  for frame in (columns, Frame()):
    pieces = list(info.schema.read_frame(frame, 150))
    assert [len(piece.names) for piece in pieces] == [150, 50]
    actual = np.concatenate([piece.arrays["features"] for piece in pieces])
    np.testing.assert_array_equal(actual, features)
  with pytest.raises(UserError, match="expected a column 'b'"):
    list(info.schema.read_frame({"a": [1]}, 10))


@pytest.mark.parametrize(
  "change",
  [
    {"kind": "sound"},
    {"format": "%Q"},
    {"fill": "x"},
    {"fill": float("nan")},
    {"parts": ["century"]},
    {"categories": [1]},
    {"other": 1},
    {"unknown": 1},
    {"indicator": True},
  ],
)
def test_a_malformed_encoding_is_refused(table, change):
  content = data.info_to_json(table(_columns())[0].train.info)
  content = json.loads(json.dumps(content))
  content["schema"]["plan"][0] |= change
  with pytest.raises(ValueError, match="plan"):
    data.info_from_json(content)


def test_a_table_without_information_is_refused(table):
  columns = {"n": [f"p{i}" for i in range(60)], "y": ["a", "b"] * 30}
  _refused("got none: column 'n'", table, columns)
  splits, _ = table(columns | {"n": ["u", "v", "w"] * 20}, categorical=("n",))
  assert splits.train.info.schema.columns == ("n=u", "n=v", "n=w")


def test_numbers_that_float32_would_merge_keep_apart(table):
  times = [1_700_000_000 + 100 * i / 71 for i in range(200)]
  splits, notes = table(_columns(t=times, y=times))
  schema = splits.train.info.schema
  [plan] = [p for p in schema.plan if p.name == "t"]
  column = schema.columns.index("t")
  features = _all(splits, "features")[:, column].astype(np.float64)
  targets = _all(splits, "target").astype(np.float64)
  assert "is subtracted before the rounding to float32" in notes
  error = np.sort(features) + plan.offset - times
  assert np.abs(error).max() < 1e-3
  assert np.abs(np.sort(targets) + schema.target_offset - times).max() < 1e-3


def test_groups_times_and_named_splits_decide_the_rows(table):
  group = [f"g{i % 20}" for i in range(200)]
  columns = _columns(g=group, t=range(200), x=range(200))
  splits, _ = table(columns, group="g", exclude=("t",))
  schema = splits.train.info.schema
  assert not [name for name in schema.columns if name.startswith("g")]
  x = schema.columns.index("x")
  groups = [set(part.arrays["features"][:, x] % 20) for part in splits]
  assert not groups[0] & groups[1] | groups[0] & groups[2]
  splits, _ = table(columns, time="t", exclude=("g",))
  x = splits.train.info.schema.columns.index("x")
  train, valid, test = (part.arrays["features"][:, x] for part in splits)
  assert train.max() < valid.min() <= valid.max() < test.min()
  columns["s"] = ["train", "val", "test", "train"] * 50
  splits, _ = table(columns, split="s", exclude=("g", "t"))
  assert [part.size for part in splits] == [100, 50, 50]


def test_folds_test_every_row_once_by_its_line(table):
  columns = _columns(x=range(200))
  lines = []
  for fold in range(4):
    splits, _ = table(columns, folds=4, fold=fold)
    x = splits.test.info.schema.columns.index("x")
    rows = splits.test.arrays["features"][:, x].astype(int)
    names = [f"own.csv:{row + 2}" for row in rows]
    assert splits.test.names.tolist() == names
    lines += names
  assert sorted(lines) == sorted(f"own.csv:{i + 2}" for i in range(200))


def test_equal_rows_are_moved_to_train_by_their_cells(table):
  columns = {name: cells * 2 for name, cells in _columns(100).items()}
  columns["x"] = [*range(100)] * 2
  _, notes = table(columns)
  assert "occur in another split" in notes
  splits, _ = table(columns, duplicates="move")
  x = splits.train.info.schema.columns.index("x")
  train, test = (
    set(part.arrays["features"][:, x]) for part in (splits.train, splits.test)
  )
  assert not train & test


def test_a_file_and_the_frame_that_pandas_reads_of_it_give_equal_features(
  table, tmp_path
):
  pandas = pytest.importorskip("pandas", reason="compares with pandas")
  rng = random.Random(1)
  columns = _columns(
    when=[f"2020-0{1 + i % 9}-11 0{i % 9}:30" for i in range(200)],
    gap=[rng.random() if i % 4 else "" for i in range(200)],
    flag=[rng.choice(["True", "False"]) for _ in range(200)],
    code=[rng.choice([1, 2, "x"]) for _ in range(200)],
    share=[f"{i % 50}%" for i in range(200)],
  )
  splits, _ = table(columns)
  path, info = tmp_path / "own.csv", splits.train.info
  [of_file] = info.schema.read([path], info, 1000)
  for frame in (
    pandas.read_csv(path),
    pandas.read_csv(path, parse_dates=["when"]),
    pandas.read_csv(path).convert_dtypes(),
    pandas.read_csv(path).astype({"b": "category"}),
  ):
    [of_frame] = info.schema.read_frame(frame, 1000)
    assert not of_frame.errors
    np.testing.assert_array_equal(
      of_frame.arrays["features"], of_file.arrays["features"]
    )


def test_rows_of_json_lines_may_lack_names_in_any_batch(table, tmp_path):
  columns = _columns(gap=[i if i > 100 else "" for i in range(200)])
  splits, _ = table(columns)
  info = splits.train.info
  [expected] = info.schema.read([tmp_path / "own.csv"], info, 1000)
  path = tmp_path / "own.jsonl"
  rows = zip(*columns.values(), strict=True)
  dicts = (dict(zip(columns, row, strict=True)) for row in rows)
  lines = [{k: v for k, v in row.items() if v != ""} for row in dicts]
  path.write_text("\n".join(map(json.dumps, lines)))
  batches = list(info.schema.read([path], info, 16))
  assert not [error for batch in batches for error in batch.errors]
  features = np.concatenate([batch.arrays["features"] for batch in batches])
  np.testing.assert_array_equal(features, expected.arrays["features"])


def test_integers_that_hardly_repeat_are_numbers(table):
  years = [1900 + i % 18 for i in range(27)]
  columns = {"x": range(27), "y": years}
  splits, notes = table(columns)
  assert "target 'y': regression, as it has 18 different numbers" in notes
  assert splits.train.info.schema.target == "target"
  columns = {"x": range(72), "y": [i % 18 for i in range(72)]}
  assert table(columns)[0].train.info.schema.classes[:2] == ("0", "1")


def test_cells_that_only_held_out_rows_lack_are_reported(table, tmp_path):
  columns = _columns(x=range(200))
  path = tmp_path / "test.csv"
  path.write_text("a,b,y,x\n1,red,no,5\n2,blue,yes,\n3,red,no,unknown\n")
  settings = {
    "path": "",
    "train": str(tmp_path / "own.csv"),
    "test": str(path),
    "valid_fraction": 0.0,
  }
  _, notes = table(columns, **settings)
  assert (
    "column 'x': 2 cells of held out rows are missing, imputed by the" in notes
  )
  _, notes = table(columns)
  assert "held out rows are missing" not in notes


def test_a_wrong_cell_is_reported_whichever_split_it_is_in(table):
  for row in range(0, 200, 20):
    values = [i if i != row else "unknown" for i in range(200)]
    _, notes = table(_columns(x=values))
    assert "column 'x': numbers with '.' as the decimal mark; not a" in notes
    assert "'unknown'" in notes


def test_a_target_that_does_not_fit_the_task_is_refused_with_the_remedy(table):
  names = [f"p{i // 2}" for i in range(150)] + [f"q{i}" for i in range(50)]
  _refused("choose another target", table, _columns(y=names))
  splits, _ = table(_columns(y=names), task="classification")
  assert len(splits.train.info.schema.classes) == 125
  _refused('set task="classification"', table, _columns(), task="regression")


def test_too_few_rows_with_a_target_are_refused_with_the_number_of_others(
  table,
):
  columns = _columns(y=["", ""] * 99 + ["1.5", "2.5"])
  _refused("got 2 examples; 198 rows with missing cells", table, columns)

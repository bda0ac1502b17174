"""Tables and image folders are split by their settings."""

import numpy as np
import pytest
from PIL import Image

from dlcore import data
from dlcore.errors import UserError

SIZE = 60


@pytest.fixture
def table(tmp_path):
  """Loads a table of patients, visits and a column of splits."""
  path = tmp_path / "visits.csv"

  def load(change=lambda cells: cells, **settings):
    lines = ["x,patient,day,set,y"]
    for row in range(SIZE):
      day = f"2026-{1 + row % 12:02}-{1 + row // 12:02}"
      name = ["training", "val", "TEST", "train"][row % 4]
      cells = [f"{row}", f"p{row // 3}", day, name, f"{row / 7:.3f}"]
      lines.append(",".join(change(cells)))
    path.write_text("\n".join(lines) + "\n")
    return data.load(
      "table_csv",
      path=str(path),
      target="y",
      cache_dir=str(tmp_path / "cache"),
      **{"columns": ("x",), **settings},
    )

  return load


def rows(source):
  """The rows of a split, by the column x."""
  return source.arrays["features"][:, 0].astype(int)


def test_the_rows_of_a_patient_are_in_one_split(table):
  splits = table(group="patient")
  patients = [set(rows(part) // 3) for part in splits]
  assert sum(map(len, patients)) == len(set.union(*patients)) == SIZE // 3


def test_the_latest_rows_are_test(table):
  def key(source):
    return [(row % 12, row // 12) for row in rows(source)]

  splits = table(time="day")
  assert max(key(splits.train)) < min(key(splits.valid))
  assert max(key(splits.valid)) < min(key(splits.test))
  assert splits.test.size == round(0.2 * SIZE)


def test_a_column_names_the_splits(table):
  splits = table(split="set")
  remainders = [set(rows(part) % 4) for part in splits]
  assert remainders == [{0, 3}, {1}, {2}]


def test_rows_have_the_names_of_their_lines(table):
  splits = table(folds=4, fold=3)
  for part in splits:
    assert part.names.tolist() == [
      f"visits.csv:{2 + row}" for row in rows(part)
    ]


def test_the_columns_of_the_splits_are_no_inputs(table):
  def numbers(cells):
    x, patient, _, _, y = cells
    return [x, patient[1:], x, "3", y]

  splits = table(numbers, columns=(), group="patient", split="")
  assert splits.train.info.schema.columns == ("x", "day", "set")


@pytest.mark.parametrize(
  ("settings", "change", "message"),
  [
    ({"group": "pateint"}, None, "column 'pateint'"),
    ({"split": "patient"}, None, "got 'p0' in row 0"),
    ({"time": "set"}, None, "times that are numbers or dates"),
    ({"group": "patient"}, (1, ""), "groups without missing values"),
    ({"time": "day"}, (2, ""), "times without missing values"),
    ({"split": "set"}, (3, ""), "assigned without missing values"),
    ({"folds": 61}, None, "at least 61 examples"),
    ({"group": "patient", "folds": 21}, None, "at least 21 groups"),
    ({"group": "patient", "time": "day"}, None, "got groups and times"),
    ({"split": "set", "folds": 3}, None, "got folds and a column"),
    ({"duplicates": "drop"}, None, "duplicates to be 'keep' or 'move'"),
  ],
)
def test_columns_that_cannot_split_are_refused(
  table, settings, change, message
):
  def blank(cells):
    if change and cells[0] == "7":
      position, cell = change
      cells[position] = cell
    return cells

  with pytest.raises(UserError, match=message) as caught:
    table(blank, **settings)
  assert len(caught.value.lines) <= 3


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
  """Ten images in each of two classes, two of them equal."""
  root = tmp_path_factory.mktemp("pictures")
  for label, name in enumerate(("cat", "dog")):
    (root / name).mkdir()
    for i in range(10):
      pixels = np.full((4, 4), 10 * max(i, 1) + label, np.uint8)
      Image.fromarray(pixels).save(root / name / f"{i}.png")
  return root


def test_folds_of_images_are_those_of_streamed_images(pictures, tmp_path):
  tested = []
  for fold in range(3):
    settings = {"folds": 3, "fold": fold, "cache_dir": str(tmp_path)}
    one, two = (
      data.load(
        "image_folder", path=str(pictures), in_memory_limit=limit, **settings
      )
      for limit in (1 << 30, 0)
    )
    for first, second in zip(one, two, strict=True):
      assert first.names.tolist() == second.names.tolist()
      assert first.info.notes == second.info.notes
      for name, array in data.read_all(second).items():
        np.testing.assert_array_equal(first.arrays[name], array)
    tested += one.test.names.tolist()
  names = [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(10)]
  assert sorted(tested) == names


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_equal_images_are_moved_to_train(pictures, tmp_path, limit):
  settings = {"path": str(pictures), "cache_dir": str(tmp_path)}
  apart = 0
  for fold in range(3):
    sources = [
      data.load(
        "image_folder",
        folds=3,
        fold=fold,
        in_memory_limit=limit,
        duplicates=duplicates,
        **settings,
      )
      for duplicates in ("keep", "move")
    ]
    kept, moved = sources
    copies = {"cat/0.png", "cat/1.png"}
    where = [copies & set(part.names.tolist()) for part in kept]
    if sum(map(bool, where)) > 1:
      apart += 1
      assert "occur in another split" in " ".join(kept.train.info.notes)
      assert copies <= set(moved.train.names.tolist())
  assert apart

"""Images whose labels are in a table: classes, several labels, numbers."""

import gzip
import json
import logging

import numpy as np
import pytest
from PIL import Image

from dlcore import data
from dlcore.data.images import image_targets, opening
from dlcore.errors import UserError


@pytest.fixture
def folder(tmp_path):
  """Forty gray images in two folders; image i has the value i."""
  for i in range(40):
    path = tmp_path / "own" / "ab"[i % 2] / f"{i:03}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (5, 4), i).save(path)
  return tmp_path / "own"


@pytest.fixture
def load(tmp_path, caplog):
  """Loads a folder, with the notes that were logged."""

  def load(path="", **settings):
    caplog.clear()
    caplog.set_level(logging.WARNING)
    settings = {"cache_dir": str(tmp_path / "cache"), **settings}
    splits = data.load("image_folder", path=str(path), **settings)
    return splits, "\n".join(caplog.messages)

  return load


def _refused(match, load, *arguments, **settings):
  with pytest.raises(UserError, match=match) as caught:
    load(*arguments, **settings)
  assert len(caught.value.lines) <= 3
  return str(caught.value)


def _csv(path, header, rows, separator=","):
  path.parent.mkdir(parents=True, exist_ok=True)
  lines = [header, *(separator.join(map(str, row)) for row in rows)]
  path.write_text("\n".join(lines) + "\n")
  return path


def _names(i):
  """Returns the ways in which tables name the image i."""
  return (
    f"{'ab'[i % 2]}/{i:03}.png",
    f"{'ab'[i % 2]}/{i:03}",
    f"own\\{'ab'[i % 2]}\\{i:03}.png",
    f"./{'ab'[i % 2]}/{i:03}.png",
    f"{i:03}.png",
    f"{i:03}",
  )


def _targets(splits):
  """Returns the target of every image, by its value."""
  target = splits.train.info.schema.target
  rows = {}
  for part in filter(None, splits):
    batch = part.read(np.arange(part.size, dtype=np.int32))
    values = batch["image"][:, 0, 0, 0].tolist()
    rows |= dict(zip(values, batch[target].tolist(), strict=True))
  assert len(rows) == sum(part.size for part in splits if part)
  return rows


@pytest.mark.parametrize("way", range(6))
def test_images_are_found_by_path_or_name_with_or_without_suffix(
  folder, load, way
):
  rows = [(_names(i)[way], "yes" if i < 10 else "no") for i in range(40)]
  table = _csv(folder / "labels.csv", "id,label", rows)
  splits, notes = load(folder, labels=str(table))
  assert splits.train.info.schema.classes == ("no", "yes")
  assert _targets(splits) == {i: int(i < 10) for i in range(40)}
  assert notes == (
    f"the labels of 40 images in {table} are read with task='classification'\n"
    "1 files with the suffix '.csv' were ignored"
  )
  assert _targets(load(table)[0]) == _targets(splits)


@pytest.mark.parametrize("limit", [1 << 30, 0])
@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_metadata_of_a_folder_takes_the_place_of_its_class_folders(
  folder, load, name, limit
):
  rows = [(_names(i)[0], i % 3) for i in range(40)]
  if name.endswith("csv"):
    _csv(folder / name, "file_name,label", rows)
  else:
    lines = [json.dumps({"file_name": n, "label": y}) for n, y in rows]
    (folder / name).write_text("\n".join(lines))
  splits, _ = load(folder, in_memory_limit=limit)
  assert splits.train.info.schema.classes == ("0", "1", "2")
  assert _targets(splits) == {i: i % 3 for i in range(40)}
  splits, _ = load(folder, in_memory_limit=limit, labels="")
  assert splits.train.info.schema.classes == ("a", "b")


@pytest.mark.parametrize("suffix", [".csv.gz", ".jsonl.gz"])
def test_tables_may_be_compressed(folder, load, tmp_path, suffix):
  rows = [(f"{i:03}", "xy"[i % 2]) for i in range(40)]
  if "csv" in suffix:
    lines = ["id,label", *map(",".join, rows)]
  else:
    lines = [json.dumps({"id": name, "label": y}) for name, y in rows]
  table = tmp_path / f"labels{suffix}"
  table.write_bytes(gzip.compress("\n".join(lines).encode()))
  splits, _ = load(folder, labels=str(table))
  assert splits.train.info.schema.classes == ("x", "y")
  assert sum(part.size for part in splits) == 40


def test_every_split_has_its_own_metadata(folder, load, tmp_path):
  for split, start in (("Train", 0), ("Testing", 30)):
    rows = []
    for i in range(start, start + 10):
      path = tmp_path / "own2" / split / f"{i}.png"
      path.parent.mkdir(parents=True, exist_ok=True)
      Image.new("L", (5, 4), i).save(path)
      rows.append((path.name, "xy"[i % 2]))
    _csv(path.parent / "metadata.csv", "file_name,label", rows)
  splits, _ = load(tmp_path / "own2", valid_fraction=0)
  assert [part and part.size for part in splits] == [10, None, 10]
  splits, _ = load(
    train=str(tmp_path / "own2" / "Train" / "metadata.csv"),
    test=str(tmp_path / "own2" / "Testing"),
    valid_fraction=0,
  )
  assert [part and part.size for part in splits] == [10, None, 10]


def _several(i):
  return [
    name for name, n in (("cat", 2), ("dog", 3), ("owl", 5)) if i % n == 0
  ]


@pytest.mark.parametrize("separator", [";", "|", " ", ", "])
def test_cells_with_several_labels_are_multilabel(folder, load, separator):
  rows = [(f"{i:03}", f'"{separator.join(_several(i))}"') for i in range(40)]
  table = _csv(folder / "labels.csv", "image,tags", rows)
  splits, notes = load(folder, labels=str(table))
  schema = splits.train.info.schema
  assert (schema.multilabel, schema.classes) == (True, ("cat", "dog", "owl"))
  assert splits.train.info.targets == {"label": ((3,), "float32")}
  expected = {
    i: [float(name in _several(i)) for name in schema.classes]
    for i in range(40)
  }
  assert _targets(splits) == expected
  assert "task='multilabel'" in notes
  content = json.loads(json.dumps(data.info_to_json(splits.train.info)))
  assert data.info_from_json(content) == splits.train.info


@pytest.mark.parametrize("targets", [(), ("cat", "dog", "owl")])
@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_columns_of_0_and_1_are_multilabel(folder, load, targets, limit):
  flags = [
    [int(n in _several(i)) for n in ("cat", "dog", "owl")] for i in range(40)
  ]
  rows = [(f"{i:03}", *flags[i]) for i in range(40)]
  table = _csv(folder / "labels.csv", "id,cat,dog,owl", rows)
  splits, _ = load(
    folder, labels=str(table), targets=targets, in_memory_limit=limit
  )
  assert splits.train.info.schema.multilabel
  assert _targets(splits) == dict(enumerate(flags))


def test_columns_of_which_one_is_1_are_classes(folder, load):
  rows = [(f"{i:03}", i % 3 == 0, i % 3 == 1, i % 3 == 2) for i in range(40)]
  table = _csv(folder / "labels.csv", "id,x,y,z", rows)
  splits, _ = load(folder, labels=str(table))
  assert splits.train.info.schema.classes == ("x", "y", "z")
  assert _targets(splits) == {i: i % 3 for i in range(40)}


def test_lists_and_repeated_rows_are_several_labels(folder, load):
  path = folder / "metadata.jsonl"
  lines = [
    {"file_name": f"{i:03}.png", "label": _several(i)} for i in range(40)
  ]
  path.write_text("\n".join(map(json.dumps, lines)))
  listed, _ = load(folder)
  path.unlink()
  rows = [(f"{i:03}", name) for i in range(40) for name in _several(i)]
  table = _csv(folder / "labels.csv", "id,label", rows)
  repeated, notes = load(folder, labels=str(table))
  named = _targets(repeated)
  assert named == {i: row for i, row in _targets(listed).items() if any(row)}
  assert f"{40 - len(named)} images that labels.csv does not name" in notes


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_numbers_are_the_target_of_a_regression(folder, load, limit):
  rows = [(f"{i:03}", i / 4 - 3) for i in range(40)]
  table = _csv(folder / "labels.csv", "id,weight", rows)
  splits, notes = load(folder, labels=str(table), in_memory_limit=limit)
  schema = splits.train.info.schema
  assert (schema.target, schema.classes) == ("target", ())
  assert schema.target_normalization["std"] > 1
  assert _targets(splits) == {i: i / 4 - 3 for i in range(40)}
  assert "task='regression'" in notes


def test_folders_of_numbers_are_a_regression_on_request(tmp_path, load):
  for i in range(40):
    path = tmp_path / "ages" / str(i // 4) / f"{i}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (5, 4), i).save(path)
  splits, _ = load(tmp_path / "ages", task="regression", valid_fraction=0)
  assert _targets(splits) == {i: float(i // 4) for i in range(40)}
  splits, _ = load(tmp_path / "ages", valid_fraction=0)
  assert splits.train.info.schema.target == "label"


@pytest.mark.parametrize(
  ("labels", "task", "separator"),
  [
    (
      ["african elephant", "asian elephant", "white shark"],
      "classification",
      "",
    ),
    (["cat", "dog", "cat dog"], "multilabel", " "),
    (["cat", "Paris, France", "Rome, Italy"], "classification", ""),
    (["a;b", "c"], "multilabel", ";"),
    (["0", "1", "20"], "classification", ""),
    (["0.5", "1"], "regression", ""),
    ([str(i) for i in range(21)], "regression", ""),
    (["1", "x"], "classification", ""),
    (["16 0", "7 1 2 0", "5", "0"], "multilabel", " "),
  ],
)
def test_the_task_follows_from_the_labels(labels, task, separator):
  targets = image_targets.choose(labels * 3, "auto")
  assert targets.task == task
  if separator:
    assert targets.separator == separator


def test_rows_without_an_image_or_label_are_listed_or_skipped(folder, load):
  rows = [(f"{i:03}", "xy"[i % 2]) for i in range(30)]
  rows += [("gone", "x"), ("030", ""), ("031.jpg", "x")]
  table = _csv(folder / "labels.csv", "id,label", rows)
  text = _refused("got 3 unreadable", load, folder, labels=str(table))
  assert "gone: no such image (line 32 of labels.csv)" in text
  assert "030.png: no label" in text
  splits, notes = load(folder, labels=str(table), on_bad="skip")
  assert sum(part.size for part in splits) == 30
  assert "3 unreadable images were skipped" in notes


def test_a_name_of_several_images_is_refused(folder, load):
  (folder / "a" / "001.png").write_bytes(
    (folder / "b" / "001.png").read_bytes()
  )
  rows = [(f"{i:03}", "xy"[i % 2]) for i in range(30)]
  table = _csv(folder / "labels.csv", "id,label", rows)
  _refused("001: 2 images of that name", load, folder, labels=str(table))


@pytest.mark.parametrize(
  ("settings", "match"),
  [
    ({"target": "lable"}, "did you mean 'label'"),
    ({"file_name": "idd"}, "did you mean 'id'"),
    ({"labels": "nowhere.csv"}, "no file at 'nowhere.csv'"),
    ({"task": "multi"}, "expected task to be"),
    ({"target": "text"}, "got 40 labels for 40 images"),
    ({"target": "label", "task": "regression"}, "the label 'x' for task="),
  ],
)
def test_mistakes_name_their_setting(folder, load, settings, match):
  rows = [(f"{i:03}", "xy"[i % 2], f"text {i}") for i in range(40)]
  table = _csv(folder / "labels.csv", "id,label,text", rows)
  _refused(match, load, folder, **{"labels": str(table), **settings})


def test_a_table_whose_target_is_not_clear_is_refused(folder, load):
  rows = [(f"{i:03}", "xy"[i % 2], i) for i in range(40)]
  table = _csv(folder / "labels.csv", "id,kind,age", rows)
  text = _refused("expected target", load, folder, labels=str(table))
  assert "got the columns id, kind, age" in text
  other = _csv(folder / "other.csv", "id,label", [("p", "x"), ("q", "y")])
  _refused("to name images in", load, folder, labels=str(other))


def test_a_changed_table_changes_the_cached_data(folder, load):
  rows = [(f"{i:03}", "xy"[i % 2]) for i in range(40)]
  table = _csv(folder / "labels.csv", "id,label", rows)
  for limit in (1 << 30, 0):
    _csv(table, "id,label", rows)
    before, _ = load(folder, labels=str(table), in_memory_limit=limit)
    _csv(
      table,
      "id,label",
      [(name, "xyz"[i % 3]) for i, (name, _) in enumerate(rows)],
    )
    after, _ = load(folder, labels=str(table), in_memory_limit=limit)
    assert after.train.info.schema.classes == ("x", "y", "z")
    assert after.train.info.sha256 != before.train.info.sha256


def test_classes_of_valid_are_among_those_of_train(folder, load):
  train = _csv(
    folder / "t.csv", "id,label", [(f"{i:03}", "xy"[i % 2]) for i in range(20)]
  )
  valid = _csv(folder / "v.csv", "id,label", [("030", "x"), ("031", "z")])
  _refused("'z' in valid only", load, train=str(train), valid=str(valid))


def test_capitals_and_synonyms_name_splits_if_all_folders_do(tmp_path, load):
  for split in ("Training", "DEV", "testing"):
    for i in range(6):
      path = tmp_path / "own" / split / "ab"[i % 2] / f"{i}.png"
      path.parent.mkdir(parents=True, exist_ok=True)
      Image.new("L", (5, 4), i).save(path)
  splits, _ = load(tmp_path / "own")
  assert [part.size for part in splits] == [6, 6, 6]
  (tmp_path / "own" / "testing").rename(tmp_path / "own" / "resting")
  splits, _ = load(tmp_path / "own", valid_fraction=0)
  assert splits.train.info.schema.classes == ("DEV", "Training", "resting")


def test_class_folders_one_level_too_deep_are_named(folder, load):
  text = _refused("expected a folder for every class", load, folder.parent)
  assert "got one folder 'own', which holds the folders 'a', 'b'" in text
  assert f"use {folder}" in text


def test_images_without_class_folders_lead_to_the_table(folder, load):
  text = _refused("20 images but no folders", load, folder / "a")
  assert "labels" in text


def test_links_to_elsewhere_are_explained(folder, load, tmp_path):
  for label in "ab":
    (tmp_path / "linked" / label).mkdir(parents=True)
    for path in (folder / label).iterdir():
      (tmp_path / "linked" / label / path.name).symlink_to(path)
  text = _refused(
    "got no image in 'a', but 20 links", load, tmp_path / "linked"
  )
  assert "copy the files" in text


@pytest.fixture
def no_heif(monkeypatch):
  """Removes pillow-heif, if it is installed."""
  monkeypatch.setattr(opening, "formats", lambda: list(opening.FORMATS))
  opening.suffixes.cache_clear()
  yield
  opening.suffixes.cache_clear()


def test_photos_of_phones_need_a_package(folder, load, no_heif):
  for i in range(3):
    (folder / "a" / f"{i}.HEIC").write_bytes(b"photo")
  _, notes = load(folder)
  assert notes == (
    "3 files with the suffix '.heic' were ignored: pillow-heif (extra heif) "
    "reads them"
  )
  for path in (folder / "a").glob("*.png"):
    path.unlink()
  text = _refused("got no image in 'a', but 3 files", load, folder)
  assert "install pillow-heif" in text
  with (
    pytest.raises(opening.UnreadableError, match="only pillow-heif"),
    opening.open_image(folder / "a" / "0.HEIC"),
  ):
    pass


def test_photos_of_phones_are_read_with_it(folder, load):
  heif = pytest.importorskip("pillow_heif")
  opening.formats.cache_clear()
  opening.suffixes.cache_clear()
  heif.register_heif_opener()
  for i in range(10):
    image = Image.new("L", (64, 48), 100 + i).convert("RGB")
    image.save(folder / "a" / f"{i}.heic", "HEIF")
  splits, notes = load(folder)
  assert sum(part.size for part in splits) == 50
  assert "10 of 50 images are scaled" in notes


@pytest.fixture
def patients(folder):
  """A table with a patient, a date and a split for every image."""
  rows = [
    (
      f"{i:03}",
      "xy"[i % 2],
      f"p{i // 4}",
      f"2024-01-{i % 28 + 1:02}",
      ("train", "Validation", "test")[i % 3],
    )
    for i in range(40)
  ]
  return _csv(folder / "labels.csv", "id,label,patient,date,part", rows)


def _values(splits):
  """Returns the values of the images of every split."""
  return [
    set(part.read(np.arange(part.size))["image"][:, 0, 0, 0].tolist())
    for part in splits
  ]


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_columns_of_the_table_decide_the_splits(folder, load, patients, limit):
  settings = {"labels": str(patients), "in_memory_limit": limit}
  splits, _ = load(folder, group="patient", target="label", **settings)
  groups = [{i // 4 for i in values} for values in _values(splits)]
  assert sum(map(len, groups)) == len(set().union(*groups)) == 10
  splits, _ = load(folder, split="part", target="label", **settings)
  assert _values(splits) == [set(range(k, 40, 3)) for k in range(3)]
  splits, _ = load(folder, time="date", target="label", **settings)
  days = [{i % 28 for i in values} for values in _values(splits)]
  assert max(days[0]) < min(days[1]) <= max(days[1]) < min(days[2])
  tests = []
  for fold in range(5):
    splits, _ = load(folder, folds=5, fold=fold, target="label", **settings)
    tests += _values(splits)[2]
    assert splits.test.names[0].endswith(".png")
  assert sorted(tests) == list(range(40))


def test_columns_of_a_split_are_not_labels(folder, load, patients):
  rows = [("030", "x", "p9"), ("031", "y", "p9")]
  valid = _csv(folder / "valid.csv", "id,kind,patient", rows)
  rows = [(f"{i:03}", "xy"[i % 2], f"p{i // 4}") for i in range(28)]
  train = _csv(folder / "train.csv", "id,kind,patient", rows)
  splits, _ = load(
    train=str(train), valid=str(valid), group="patient", test_fraction=0
  )
  assert splits.train.info.schema.classes == ("x", "y")
  assert [part and part.size for part in splits] == [28, 2, None]


def test_columns_need_a_table(folder, load, patients):
  text = _refused("expected a table", load, folder, group="patient", labels="")
  assert "class folders" in text
  _refused(
    "expected a column 'patent'",
    load,
    folder,
    group="patent",
    labels=str(patients),
  )
  _refused(
    "expected numbers or dates",
    load,
    folder,
    time="patient",
    target="label",
    labels=str(patients),
  )


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_equal_images_of_several_splits_are_reported_or_moved(
  folder, load, limit
):
  for path in (folder / "a").iterdir():
    (folder / "a" / f"copy of {path.name}").write_bytes(path.read_bytes())
  splits, notes = load(folder, in_memory_limit=limit)
  train, _, test = _values(splits)
  assert train & test
  assert "examples of test occur in another split" in notes
  splits, _ = load(folder, in_memory_limit=limit, duplicates="move")
  train, _, test = _values(splits)
  assert not train & test

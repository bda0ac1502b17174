import os

import numpy as np
import pytest

from dlcore import data
from dlcore.data import cache


@pytest.fixture
def load(tmp_path):
  """Loads through the cache; the list has one entry per build."""
  file = tmp_path / "source"
  file.write_text("first")
  built = []

  def build():
    built.append(1)
    values = np.full((4, 2), len(built), np.float32)
    return data.Splits(data.from_arrays({"features": values}, name="own"))

  def load(**key):
    folder = str(tmp_path / "cache")
    return cache.splits(
      build, name="own", key=key, files=lambda: [file], folder=folder
    )

  return load, built, file


def _entries(tmp_path):
  return sorted((tmp_path / "cache").iterdir())


def test_a_second_load_reads_the_cache(load):
  load, built, _ = load
  first, again = load(), load()
  assert len(built) == 1
  assert first.train.info == again.train.info
  np.testing.assert_array_equal(
    first.train.arrays["features"], again.train.arrays["features"]
  )
  assert again.valid is None


def test_another_setting_is_another_entry(load):
  load, built, _ = load
  for size in (1, 2, 1, 2):
    load(size=size)
  assert len(built) == 2


def test_a_changed_file_is_read_again_and_the_old_entry_is_removed(
  load, tmp_path
):
  load, built, file = load
  load()
  file.write_text("second")
  load()
  assert len(built) == 2
  assert len(_entries(tmp_path)) == 1
  state = file.stat()
  os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
  load()
  assert len(built) == 3


DAMAGES = (
  *("cut", "flip", "empty", "header", "pickle", "remove", "text", "deep"),
  *("link", "pipe"),
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_built_again(load, tmp_path, damage):
  load, built, _ = load
  load()
  (entry,) = _entries(tmp_path)
  file = entry / "train" / "features.npy"
  content = bytearray(file.read_bytes())
  if damage == "cut":
    file.write_bytes(content[:-5])
  elif damage == "flip":
    content[-1] ^= 1
    file.write_bytes(content)
  elif damage == "pickle":
    np.save(file, np.array([{}], object), allow_pickle=True)
  elif damage == "empty":
    file.write_bytes(b"")
  elif damage == "header":
    file.write_bytes(content[:10] + b"(" * (len(content) - 10))
  elif damage == "remove":
    file.unlink()
  elif damage == "deep":
    (entry / "splits.json").write_text("[" * 100_000)
  elif damage == "link":
    (entry / "splits.json").rename(entry / "elsewhere.json")
    (entry / "splits.json").symlink_to("elsewhere.json")
  elif damage == "pipe":
    (entry / "splits.json").unlink()
    os.mkfifo(entry / "splits.json")
  else:
    (entry / "splits.json").write_text("{")
  assert load().train.size == 4
  assert len(built) == 2
  load()
  assert len(built) == 2


def test_lengths_of_sequences_are_cached(tmp_path):
  ids = np.arange(12, dtype=np.int32).reshape(3, 4)

  def load():
    file = tmp_path / "source"
    file.write_text("ids")
    os.utime(file, ns=(0, 0))
    splits = cache.splits(
      lambda: data.Splits(
        data.from_arrays({"input_ids": ids}, lengths=np.array([1, 4, 2]))
      ),
      name="ids",
      key={},
      files=lambda: [file],
      folder=str(tmp_path / "cache"),
    )
    return splits.train

  first, again = load(), load()
  assert first.info == again.info
  assert again.lengths.tolist() == [1, 4, 2]
  assert set(again.arrays) == {"input_ids"}


@pytest.mark.parametrize("streamed", ["train", "valid"])
def test_streamed_splits_are_not_cached(tmp_path, streamed):
  file = tmp_path / "source"
  file.write_text("")
  built = []

  def build():
    built.append(1)
    source = data.from_arrays({"features": np.ones((4, 2), np.float32)})
    parts = {"train": source, "valid": source}
    return data.Splits(**parts | {streamed: source._replace(arrays=None)})

  for _ in range(2):
    folder = str(tmp_path / "cache")
    cache.splits(build, name="own", key={}, files=lambda: [file], folder=folder)
  assert len(built) == 2


def test_an_empty_file_is_cached_and_a_missing_one_is_not(load):
  load, built, file = load
  file.write_text("")
  load()
  load()
  assert len(built) == 1
  file.unlink()
  load()
  load()
  assert len(built) == 3


def test_a_folder_that_cannot_be_written_costs_only_time(
  load, tmp_path, caplog
):
  load, built, _ = load
  (tmp_path / "cache").write_text("a file where the folder should be")
  load()
  load()
  assert len(built) == 2
  assert caplog.text.count("cannot cache the decoded data") == 2


def test_a_failed_write_leaves_no_files(load, tmp_path, monkeypatch):
  load, _, _ = load

  def fail(*arguments, **settings):
    raise OSError("no space left on device")

  monkeypatch.setattr(np, "save", fail)
  load()
  assert _entries(tmp_path) == []


def test_the_folder_may_come_from_the_environment(load, tmp_path, monkeypatch):
  monkeypatch.setenv("DLCORE_CACHE", str(tmp_path / "home"))
  assert cache.cache_root("") == tmp_path / "home" / "data"
  assert cache.cache_root(str(tmp_path)) == tmp_path


def test_a_file_that_changes_during_decoding_is_not_cached(tmp_path):
  file = tmp_path / "source"
  texts = iter(["one", "three", "seven"])

  def build():
    values = np.array([[len(file.read_text())]], np.float32)
    file.write_text(next(texts))
    return data.Splits(data.from_arrays({"features": values}))

  def load():
    settings = {"files": lambda: [file], "folder": str(tmp_path / "cache")}
    splits = cache.splits(build, name="own", key={}, **settings)
    return splits.train.arrays["features"].item()

  file.write_text("zero")
  assert [load(), load(), load()] == [4, 3, 5]


def test_files_that_the_build_creates_are_cached(tmp_path):
  file = tmp_path / "source"
  built = []

  def build():
    built.append(file.write_text("own"))
    return data.Splits(data.from_arrays({"features": np.ones((2, 1))}))

  for _ in range(2):
    cache.splits(
      build, name="a", key={}, files=lambda: [file], folder=str(tmp_path / "b")
    )
  assert len(built) == 1


@pytest.fixture
def lengths(tmp_path):
  """Measures files; the list holds the names of files that were read."""
  files = [tmp_path / "a", tmp_path / "b"]
  for file in files:
    file.write_text(file.name)
  read = []

  def length(file):
    read.append(file.name)
    return len(file.read_text()) or None

  def lengths():
    read.clear()
    return cache.per_file(
      length, files, name="length", key={}, folder=str(tmp_path / "cache")
    )

  return lengths, files, read


def test_only_changed_files_are_read_again(lengths):
  lengths, files, read = lengths
  assert lengths() == [1, 1]
  assert lengths() == [1, 1]
  assert read == []
  files[1].write_text("longer")
  assert lengths() == [1, 6]
  assert read == ["b"]


def test_a_result_of_none_is_not_cached(lengths):
  lengths, files, read = lengths
  files[0].write_text("")
  for _ in range(2):
    assert lengths() == [None, 1]
    assert "a" in read


def test_damaged_records_are_recomputed(lengths, tmp_path):
  lengths, _, read = lengths
  lengths()
  (path,) = (tmp_path / "cache").iterdir()
  text = path.read_text()
  for damaged in (text[:-3], text.replace(", 1]", ", 2]"), "[]", "{}"):
    assert damaged != text
    path.write_text(damaged)
    assert lengths() == [1, 1]
    assert sorted(read) == ["a", "b"]
  assert lengths() == [1, 1]
  assert read == []

"""Folders of text files: classes, splits of IMDB, and bad input."""

import gzip
import logging

import pytest

from dlcore import data
from dlcore.errors import UserError


def write(folder, texts):
  for name, text in texts.items():
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def classes(count=10, word="own"):
  return {
    f"{label}/{i}.txt": f"{label} text {word} number {i}"
    for label in ("neg", "pos")
    for i in range(count)
  }


@pytest.fixture
def load(tmp_path, caplog):
  """Loads a folder: `(splits, notes)`."""

  def load(path, **settings):
    caplog.clear()
    caplog.set_level(logging.WARNING)
    splits = data.load(
      "text_folder",
      **{"path": str(path), "tokenizer": "bytes", **settings},
      cache_dir=str(tmp_path / "cache"),
    )
    return splits, "\n".join(caplog.messages)

  return load


def _refused(match, load, *arguments, **settings):
  with pytest.raises(UserError, match=match) as caught:
    load(*arguments, **settings)
  assert len(caught.value.lines) <= 3


def _texts(part):
  schema, arrays = part.info.schema, part.arrays
  return {
    schema.tokenizer.decode(ids): schema.classes[label]
    for ids, label in zip(
      arrays["input_ids"].tolist(), arrays["label"], strict=True
    )
  }


def test_the_folder_of_a_text_is_its_class(tmp_path, load):
  texts = classes() | {"pos/deep/a.md": "pos deep", "neg/.hidden.txt": "x"}
  write(tmp_path / "own", texts)
  write(tmp_path / "own", {"neg/z.txt.gz": gzip.compress(b"neg packed")})
  splits, notes = load(tmp_path / "own")
  found = {}
  for part in splits:
    found |= _texts(part)
  del texts["neg/.hidden.txt"]
  expected = {text: name.split("/")[0] for name, text in texts.items()}
  assert found == expected | {"neg packed": "neg"}
  assert "pos/deep/a.md" in {name for part in splits for name in part.names}
  assert "1 hidden entries were ignored" in notes


def test_the_archive_of_imdb_is_read_as_it_is(tmp_path, load):
  """Its layout: files next to the classes, and texts without a class."""
  root = tmp_path / "aclImdb"
  write(root / "train", classes(10) | {"unsup/0_0.txt": "no class"})
  write(root / "test", classes(6, "test"))
  others = (
    "README",
    "imdb.vocab",
    "train/urls_pos.txt",
    "test/labeledBow.feat",
  )
  write(root, dict.fromkeys(others, "x"))
  splits, notes = load(root)
  assert [part.size for part in splits] == [18, 2, 12]
  assert splits.train.info.schema.classes == ("neg", "pos")
  assert "1 texts without a class in 'unsup' were ignored" in notes
  assert "2 entries that are not in a class folder were ignored" in notes


def test_links_to_outside_are_not_followed(tmp_path, load):
  root = tmp_path / "own"
  write(root, classes(4))
  write(tmp_path, {"secret.txt": "secret"})
  (root / "pos" / "link.txt").symlink_to(tmp_path / "secret.txt")
  splits, notes = load(root, test_fraction=0.0)
  assert sum(part.size for part in splits if part) == 8
  assert "links that leave the folder" in notes


def test_bad_folders_are_three_lines(tmp_path, load):
  _refused("no folder at", load, tmp_path / "none")
  write(tmp_path, {"file.txt": "x", "flat/a.txt": "x", "image/a/b.png": "x"})
  _refused("a file at", load, tmp_path / "file.txt")
  _refused("got no folders", load, tmp_path / "flat")
  _refused("got none of them in 'a'", load, tmp_path / "image")
  write(tmp_path / "new", {"train/a/1.txt": "x", "test/b/1.txt": "x"})
  _refused("among those of train", load, tmp_path / "new")


def test_an_unreadable_file_is_named_or_skipped(tmp_path, load):
  root = tmp_path / "own"
  wide = "one\ntwo".encode("utf-16-le")  # Valid UTF-8, with NUL characters.
  bad = {"pos/latin.txt": b"one\ntwo caf\xe9", "pos/wide.txt": b"\n" + wide}
  write(root, classes() | bad)
  _refused("latin.txt: got the byte 0xe9 in line 2", load, root)
  _refused("wide.txt: got a NUL character in line 2", load, root)
  splits, notes = load(root, on_bad="skip")
  assert sum(part.size for part in splits) == 20
  assert "2 unreadable files were skipped" in notes


def test_a_changed_file_is_read_again(tmp_path, load):
  root = tmp_path / "own"
  write(root, classes())
  first, _ = load(root)
  again, _ = load(root)
  assert again.train.info.sha256 == first.train.info.sha256
  write(root, {name: text + " more" for name, text in classes().items()})
  changed, _ = load(root)
  assert changed.train.info.sha256 != first.train.info.sha256

import json
import logging
import os
import shutil
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from dlcore import data
from dlcore.data.images import decoding
from dlcore.errors import UserError


def _save(path, array, **settings):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.asarray(array, np.uint8)).save(path, **settings)


@pytest.fixture
def folder(tmp_path):
  """Two classes of twenty gray images of 6 rows and 5 columns."""
  random = np.random.default_rng(0)
  for label in ("cat", "dog"):
    for i in range(20):
      image = random.integers(0, 256, (6, 5), np.uint8)
      _save(tmp_path / "own" / label / f"{i}.png", image)
  return tmp_path / "own"


@pytest.fixture
def load(tmp_path, caplog):
  """Loads a folder, with the notes that were logged."""

  def load(path="", **settings):
    caplog.clear()
    caplog.set_level(logging.WARNING)
    splits = data.load(
      "image_folder",
      path=str(path),
      cache_dir=str(tmp_path / "cache"),
      **settings,
    )
    return splits, "\n".join(caplog.messages)

  return load


def _refused(match, load, *arguments, **settings):
  with pytest.raises(UserError, match=match) as caught:
    load(*arguments, **settings)
  assert len(caught.value.lines) <= 3
  return str(caught.value)


def test_a_folder_is_divided_by_hash_the_same_of_every_class(folder, load):
  splits, notes = load(folder)
  assert [part.size for part in splits] == [28, 4, 8]
  for part in splits:
    assert len(set(np.bincount(part.arrays["label"]))) == 1
  assert splits.train.info.schema.classes == ("cat", "dog")
  assert splits.train.arrays["image"].shape == (28, 6, 5, 1)
  assert notes == ""
  images = np.concatenate([part.arrays["image"] for part in splits])
  files = [np.asarray(Image.open(path)) for path in folder.glob("*/*.png")]
  assert sorted(p.tobytes() for p in images) == sorted(
    f.tobytes() for f in files
  )


def test_another_file_does_not_move_the_others_between_splits(folder, load):
  before, _ = load(folder, valid_fraction=0)
  _save(folder / "cat" / "new.png", np.zeros((6, 5)))
  after, _ = load(folder, valid_fraction=0)
  tests = [
    {image.tobytes() for image in splits.test.arrays["image"]}
    for splits in (before, after)
  ]
  assert len(tests[0] & tests[1]) >= len(tests[0]) - 1


def test_the_streamed_folder_equals_the_one_in_memory(folder, load):
  resident, _ = load(folder)
  streamed, _ = load(folder, in_memory_limit=0)
  for one, other in zip(resident, streamed, strict=True):
    assert other.arrays is None
    batch = other.read(np.arange(other.size, dtype=np.int32))
    for name, array in one.arrays.items():
      np.testing.assert_array_equal(array, batch[name])
  assert resident.train.info.schema == streamed.train.info.schema


def test_folders_of_splits_are_not_divided(folder, load, tmp_path):
  for name in ("train", "val", "test"):
    for label in ("cat", "dog"):
      target = tmp_path / "three" / name / label
      target.mkdir(parents=True)
      for path in sorted((folder / label).iterdir())[: len(name)]:
        (target / path.name).write_bytes(path.read_bytes())
  splits, _ = load(tmp_path / "three")
  assert [part.size for part in splits] == [10, 6, 8]
  again, _ = load(
    train=str(tmp_path / "three" / "train"),
    test=str(tmp_path / "three" / "test"),
    valid_fraction=0,
  )
  assert [part.size for part in again if part] == [10, 8]


def test_missing_and_empty_folders_are_refused(folder, load, tmp_path):
  _refused("no folder at", load, tmp_path / "nowhere")
  _refused("a file at", load, folder / "cat" / "0.png")
  (tmp_path / "empty").mkdir()
  _refused("an empty folder", load, tmp_path / "empty")
  _refused("folder for every class", load, folder / "cat")
  (folder / "bird").mkdir()
  _refused("got no image in 'bird'", load, folder)
  _refused("expected path, or train", load)
  _refused("expected path, or train", load, folder, train=str(folder))


def test_a_class_that_only_one_split_has(folder, load, tmp_path):
  other = tmp_path / "other"
  _save(other / "cat" / "a.png", np.zeros((6, 5)))
  _, notes = load(train=str(folder), test=str(other))
  assert "test has no examples of the classes 'dog'" in notes
  _save(other / "bird" / "a.png", np.zeros((6, 5)))
  _refused("'bird' in test only", load, train=str(folder), test=str(other))


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_unreadable_images_are_listed_or_skipped(folder, load, limit):
  (folder / "cat" / "text.png").write_text("not an image")
  (folder / "dog" / "nothing.jpg").write_bytes(b"")
  text = _refused("got 2 unreadable", load, folder, in_memory_limit=limit)
  assert "text.png" in text
  assert "nothing.jpg" in text
  splits, notes = load(folder, in_memory_limit=limit, on_bad="skip")
  assert sum(part.size for part in splits) == 40
  assert "2 unreadable images were skipped" in notes
  _refused(
    "expected on_bad to be 'error' or 'skip'", load, folder, on_bad="ignore"
  )


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_file_names_may_hold_any_bytes(folder, load, limit):
  names = ["a b.PNG", "\u00fc, 1.png", "-x.png", "a\nb.png", "%d{}.png"]
  names.append(os.fsdecode(b"\xff.png"))
  for name in names:
    _save(folder / "cat" / name, np.zeros((6, 5)))
  (folder / "dog").rename(folder / "dog, \u00fc\n2")
  splits, _ = load(folder, in_memory_limit=limit)
  assert sum(part.size for part in splits) == 46
  assert splits.train.info.schema.classes == ("cat", "dog, \u00fc\n2")
  json.dumps(data.info_to_json(splits.train.info)).encode()
  _read_all(splits)
  again, _ = load(folder, in_memory_limit=limit)
  assert [part.info for part in again] == [part.info for part in splits]


def test_a_class_without_a_readable_image_is_refused_even_if_skipping(
  folder, load
):
  for path in (folder / "cat").iterdir():
    path.write_bytes(b"")
  text = _refused("readable images in", load, folder, on_bad="skip")
  assert str(folder / "cat") in text
  assert text.count(".png") == 10
  assert "; and 10 more" in text


def test_a_single_class_is_reported(folder, load):
  shutil.rmtree(folder / "dog")
  splits, notes = load(folder)
  assert splits.train.info.schema.classes == ("cat",)
  assert notes.count("all examples have the class 'cat'") == 1


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_a_truncated_image_is_reported_before_training(folder, load, limit):
  paths = [folder / "cat" / "0.png", folder / "dog" / "1.png"]
  whole = [path.read_bytes() for path in paths]
  for path, content in zip(paths, whole, strict=True):
    path.write_bytes(content[:-30])
  text = _refused("got 2 unreadable", load, folder, in_memory_limit=limit)
  assert all(str(path) in text for path in paths)
  splits, notes = load(folder, in_memory_limit=limit, on_bad="skip")
  assert sum(part.size for part in splits) == 38
  assert "2 unreadable images were skipped" in notes
  _read_all(splits)
  for path, content in zip(paths, whole, strict=True):
    path.write_bytes(content)
  splits, notes = load(folder, in_memory_limit=limit)
  assert sum(part.size for part in splits) == 40
  assert notes == ""


def test_a_streamed_image_that_is_damaged_later_is_reported(folder, load):
  splits, _ = load(folder, in_memory_limit=0)
  (folder / "cat" / "0.png").write_bytes(b"")
  with pytest.raises(UserError, match="expected readable images"):
    _read_all(splits)


def test_streamed_images_are_checked_once(folder, load, monkeypatch):
  before, _ = load(folder, in_memory_limit=0)
  read = []

  def count(function):
    def counted(file):
      read.append(file)
      return function(file)

    return counted

  monkeypatch.setattr(
    decoding, "hash_decodable", count(decoding.hash_decodable)
  )
  monkeypatch.setattr(decoding, "header", count(decoding.header))
  after, _ = load(folder, in_memory_limit=0)
  assert read == []
  assert [part.info for part in before] == [part.info for part in after]
  _save(folder / "dog" / "0.png", np.zeros((6, 5)))
  load(folder, in_memory_limit=0)
  assert read == [folder / "dog" / "0.png"] * 2


def test_the_checksum_of_a_stream_depends_on_the_content_not_the_path(
  folder, load, tmp_path
):
  def checksums(path):
    splits, _ = load(path, in_memory_limit=0)
    return [part.info.sha256 for part in splits]

  before = checksums(folder)
  assert checksums(shutil.copytree(folder, tmp_path / "copy")) == before
  path = folder / "cat" / "0.png"
  _save(path, 255 - np.asarray(Image.open(path)))
  assert (
    sum(a != b for a, b in zip(checksums(folder), before, strict=True)) == 1
  )


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_a_rare_class_that_is_not_held_out_is_reported(folder, load, limit):
  for i in range(20):
    if i > 2:
      (folder / "dog" / f"{i}.png").unlink()
  splits, notes = load(folder, in_memory_limit=limit)
  assert "valid has no examples of the classes 'dog'" in notes
  assert "test has no examples" not in notes
  assert splits.test.info.notes == splits.train.info.notes


def _read_all(splits):
  for part in splits:
    part.read(np.arange(part.size, dtype=np.int32))


def test_mixed_images_are_converted_with_one_note(folder, load):
  _save(folder / "cat" / "large.png", np.zeros((60, 50)))
  _save(folder / "dog" / "alpha.png", np.zeros((6, 5, 4)))
  splits, notes = load(folder)
  assert splits.train.info.inputs == {"image": ((6, 5, 3), "uint8")}
  assert (
    "1 of 42 images are scaled and cropped to 6 rows and 5 columns" in notes
  )
  assert "converted to RGB (41 L, 1 RGBA" in notes
  assert load(folder)[1] == notes
  square, _ = load(folder, image_size=4, channels=1)
  assert square.train.info.inputs == {"image": ((4, 4, 1), "uint8")}


def test_links_that_leave_the_folder_are_not_followed(folder, load, tmp_path):
  secret = tmp_path / "secret.png"
  _save(secret, np.zeros((6, 5)))
  (folder / "cat" / "link.png").symlink_to(secret)
  (folder / "cat" / "inside.png").symlink_to(folder / "dog" / "0.png")
  (folder / "cat" / ".hidden.png").write_text("hidden")
  (folder / "cat" / "Thumbs.db").write_text("not an image")
  os.mkfifo(folder / "cat" / "pipe.png")
  splits, notes = load(folder)
  assert sum(part.size for part in splits) == 41
  assert "1 links that leave the folder were ignored" in notes


def _chunk(name, body):
  check = struct.pack(">I", zlib.crc32(name + body))
  return struct.pack(">I", len(body)) + name + body + check


@pytest.mark.parametrize("side", [9_000, 50_000])
def test_decompression_bombs_are_refused_before_they_are_decoded(
  folder, load, side
):
  bomb = b"\x89PNG\r\n\x1a\n" + _chunk(
    b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
  )
  (folder / "cat" / "bomb.png").write_bytes(bomb + _chunk(b"IDAT", b""))
  assert "bomb.png" in _refused("got 1 unreadable", load, folder)


def _decoded(path, channels=3):
  return decoding.decode(path, (None, None, channels))


def test_transparent_images_are_composed_onto_white(tmp_path):
  path = tmp_path / "a.png"
  pixels = np.zeros((2, 2, 4), np.uint8)
  pixels[0] = [10, 20, 30, 255]
  _save(path, pixels)
  assert _decoded(path)[:, 0].tolist() == [[10, 20, 30], [255, 255, 255]]
  palette = Image.new("P", (1, 1), 0)
  palette.putpalette([9, 9, 9])
  palette.save(path, transparency=0)
  assert _decoded(path).ravel().tolist() == [255, 255, 255]
  palette.save(path)
  assert _decoded(path).ravel().tolist() == [9, 9, 9]


def test_sixteen_bits_become_eight(tmp_path):
  values = np.array([[0, 257, 65535]], np.uint16)
  Image.fromarray(values).save(tmp_path / "deep.png")
  assert _decoded(tmp_path / "deep.png", 1).ravel().tolist() == [0, 1, 255]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_pixel_format_can_be_read(tmp_path, mode, channels):
  suffix = "tiff" if mode == "CMYK" else "png"
  Image.new(mode, (4, 3)).save(tmp_path / f"a.{suffix}")
  image = _decoded(tmp_path / f"a.{suffix}", channels)
  assert (image.shape, image.dtype) == ((3, 4, channels), np.uint8)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_exif_data_without_an_orientation_rotates_nothing(tmp_path, suffix):
  exif = Image.Exif()
  exif[0x010E] = "a description"
  left = np.zeros((8, 16), np.uint8)
  left[:, :8] = 255
  _save(tmp_path / f"a.{suffix}", left, exif=exif)
  decoded = _decoded(tmp_path / f"a.{suffix}", 1)
  assert decoded[:, :8].mean() > 250
  assert decoded[:, 8:].mean() < 5


def test_images_are_rotated_as_exif_specifies(tmp_path):
  exif = Image.Exif()
  exif[decoding.ORIENTATION] = 6
  wide = np.zeros((8, 16), np.uint8)
  wide[:, :8] = 255
  _save(tmp_path / "a.jpg", wide, exif=exif)
  assert decoding.header(tmp_path / "a.jpg")[:2] == (16, 8)
  turned = _decoded(tmp_path / "a.jpg", 1)
  assert turned.shape == (16, 8, 1)
  assert turned[:8].mean() > 250
  assert turned[8:].mean() < 5


def test_scaling_keeps_the_aspect_ratio_and_crops_the_center(tmp_path):
  image = np.zeros((10, 40), np.uint8)
  image[:, 15:25] = 200
  _save(tmp_path / "a.png", image)
  assert decoding.decode(tmp_path / "a.png", (10, 10, 1)).min() == 200


def test_predicting_reads_images_as_training_did(folder, load):
  splits, _ = load(folder, valid_fraction=0)
  content = json.loads(json.dumps(data.info_to_json(splits.train.info)))
  info = data.info_from_json(content)
  bad = folder / "cat" / "bad.png"
  bad.write_text("not an image")
  paths = [*sorted(folder.glob("*/?.png")), bad, folder / "gone.png"]
  parts = list(info.schema.read(paths, info, 7))
  known = {
    image.tobytes() for part in splits if part for image in part.arrays["image"]
  }
  images = np.concatenate([part.arrays["image"] for part in parts[:-1]])
  assert len(images) == 20
  assert {image.tobytes() for image in images} <= known
  names = [name for part in parts for name in part.names]
  assert names == [str(path) for path in paths[:-2]]
  wrong = [path for part in parts for path, _ in part.errors]
  assert wrong == [str(bad), str(folder / "gone.png")]
  assert (parts[-1].names, parts[-1].arrays) == ([], None)

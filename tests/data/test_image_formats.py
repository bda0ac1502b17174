"""Formats, folders, ranges and bounds of image files."""

import contextlib
import io
import json
import logging
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from dlcore import data
from dlcore.data import normalization
from dlcore.data.images import conversion, decoding, listing, opening
from dlcore.data.tfds import stand_ins
from dlcore.errors import UserError


def _save(path, array, **settings):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.asarray(array)).save(path, **settings)


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

  def load(path, **settings):
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


def _size(splits):
  return sum(part.size for part in splits if part)


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_images_in_folders_of_a_class_folder_belong_to_the_class(
  folder, load, limit
):
  before, _ = load(folder, in_memory_limit=limit)
  for i in range(6):
    image = np.full((6, 5), i, np.uint8)
    _save(folder / "cat" / "more" / f"{i % 2}" / f"{i}.png", image)
  splits, notes = load(folder, in_memory_limit=limit)
  assert _size(splits) == _size(before) + 6
  assert splits.train.info.schema.classes == ("cat", "dog")
  assert notes == ""


def test_a_file_of_a_name_in_two_folders_is_held_out_by_its_whole_path(
  tmp_path, load
):
  for label in "ab":
    for i in range(40):
      image = np.full((4, 4), i, np.uint8)
      _save(tmp_path / "own" / label / f"{i}" / "image.png", image)
  splits, _ = load(tmp_path / "own")
  a, b = (
    {
      int(image[0, 0, 0])
      for image, y in zip(*splits.test.arrays.values(), strict=True)
      if y == label
    }
    for label in (0, 1)
  )
  assert len(a) == len(b) == 8
  assert a != b


def test_every_suffix_of_a_format_is_read_by_its_content(folder, load):
  count = 0
  for name, suffixes in opening.FORMATS.items():
    image = Image.new("RGB" if name == "QOI" else "L", (5, 6))
    for suffix in suffixes:
      image.save(folder / "cat" / f"a{suffix.upper()}", name)
      other = folder / "dog" / f"b{suffix}"
      other.write_bytes((folder / "dog" / "0.png").read_bytes())
      count += 2
  splits, _ = load(folder)
  assert _size(splits) == 40 + count


def test_the_suffixes_are_those_that_pillow_registers():
  Image.init()
  registered = {
    name: {s for s, n in Image.registered_extensions().items() if n == name}
    for name in opening.FORMATS
  }
  # Float images, and sequences of images.
  other = {".pfm", ".avifs"}
  for name, suffixes in opening.FORMATS.items():
    assert set(suffixes) == registered[name] - other


def test_left_out_entries_are_counted_in_notes(folder, load):
  (folder / "cat" / "notes.txt").write_text("text")
  (folder / "dog" / "sub").mkdir()
  (folder / "dog" / "sub" / "a.TXT").write_text("text")
  (folder / "dog" / "sub" / "none").write_text("text")
  (folder / "dog" / ".DS_Store").write_text("text")
  (folder / "readme.md").write_text("text")
  os.mkfifo(folder / "cat" / "pipe.png")
  (folder / "cat" / "gone.png").symlink_to(folder / "nowhere.png")
  splits, notes = load(folder)
  assert _size(splits) == 40
  for note in (
    "2 files with the suffix '.txt' were ignored",
    "1 files with the suffix '' were ignored",
    "1 hidden entries were ignored",
    "1 entries that are not in a class folder were ignored",
    "1 entries that are not plain files were ignored",
    "1 links to missing files were ignored",
  ):
    assert note in notes
  assert len(splits.train.info.notes) == 6


@pytest.mark.parametrize("splits", [False, True])
def test_folders_of_a_zip_archive_of_macos_are_no_classes(
  folder, load, splits, tmp_path
):
  root = folder
  if splits:
    root = tmp_path / "splits"
    for name in ("Train", "Test"):
      shutil.copytree(folder, root / name)
  (root / "__MACOSX" / "cat").mkdir(parents=True)
  (root / "__MACOSX" / "cat" / "._0.png").write_bytes(b"resource fork")
  loaded, _ = load(root)
  assert loaded.train.info.schema.classes == ("cat", "dog")
  assert _size(loaded) == 40 * (1 + splits)


def test_many_kinds_of_left_out_entries_are_summed_up(folder, load):
  for i in range(30):
    (folder / "cat" / f"a.x{i}").write_text("text")
  _, notes = load(folder)
  assert notes.count("were ignored") == 11
  assert "20 other entries were ignored" in notes


def test_notes_on_left_out_entries_begin_with_the_most_frequent():
  notes = listing.describe_left_out({"b": 1, "c": 2, "a": 1})
  assert [note.split()[1] for note in notes] == ["c", "a", "b"]


@pytest.mark.parametrize(
  ("link", "target"),
  [
    ("cat/self.png", "cat/self.png"),
    ("cat/up", ""),
    ("cat/round", "cat"),
    ("cat/across", "dog"),
    ("all", ""),
  ],
)
def test_loops_of_links_end_and_no_image_counts_twice(
  folder, load, link, target
):
  (folder / link).symlink_to(folder / target)
  splits, notes = load(folder)
  assert _size(splits) == 40
  assert "were ignored" in notes


def test_two_folders_for_one_split_are_refused(folder, load, tmp_path):
  for name in ("train", "val", "validation"):
    (tmp_path / "three").mkdir(exist_ok=True)
    (tmp_path / "three" / name).symlink_to(folder)
  _refused("one folder for each split", load, tmp_path / "three")


EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 5 6
%%EndComments
showpage
%%EOF
"""


def test_an_eps_file_starts_no_program(folder, load, tmp_path, monkeypatch):
  programs, started = tmp_path / "bin", tmp_path / "started"
  programs.mkdir()
  for name in ("gs", "gswin32c", "gswin64c", "djpeg", "cjpeg", "sh"):
    stub = programs / name
    stub.write_text(f"#!/bin/bash\necho {name} >> {started}\nexit 1\n")
    stub.chmod(0o755)
  monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
  monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
  # The stub works: Pillow itself starts it.
  with Image.open(io.BytesIO(EPS)) as image, contextlib.suppress(Exception):
    image.load()
  assert started.read_text() == "gs\n"
  started.unlink()
  (folder / "cat" / "a.png").write_bytes(EPS)
  for limit in (1 << 30, 0):
    text = _refused("got 1 unreadable", load, folder, in_memory_limit=limit)
    assert "a.png: not an image that can be read" in text
  splits, notes = load(folder, on_bad="skip")
  assert _size(splits) == 40
  assert "1 unreadable images were skipped" in notes
  info = splits.train.info
  (batch,) = info.schema.read([folder / "cat" / "a.png"], info, 4)
  assert len(batch.errors) == 1
  with pytest.raises(decoding.UnreadableError):
    decoding.decode(EPS, (None, None, 1))
  assert not started.exists()


ORIENTATIONS = {
  1: None,
  2: Image.Transpose.FLIP_LEFT_RIGHT,
  3: Image.Transpose.ROTATE_180,
  4: Image.Transpose.FLIP_TOP_BOTTOM,
  5: Image.Transpose.TRANSPOSE,
  6: Image.Transpose.ROTATE_270,
  7: Image.Transpose.TRANSVERSE,
  8: Image.Transpose.ROTATE_90,
}


@pytest.mark.parametrize("suffix", ["tif", "jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_header_has_the_size_of_the_rotated_image(
  tmp_path, suffix, orientation
):
  exif = Image.Exif()
  exif[decoding.ORIENTATION] = orientation
  stored = np.zeros((16, 24), np.uint8)
  stored[:8, :12] = 255
  path = tmp_path / f"a.{suffix}"
  _save(path, stored, exif=exif)
  turned = decoding.decode(path, (None, None, 1))
  assert decoding.header(path)[:2] == turned.shape[:2]
  assert turned.shape == ((24, 16, 1) if orientation > 4 else (16, 24, 1))
  method = ORIENTATIONS[orientation]
  expected = Image.fromarray(stored)
  expected = expected if method is None else expected.transpose(method)
  error = np.abs(turned[..., 0].astype(int) - np.asarray(expected)).mean()
  assert error < 3  # Of 255: JPEG and WEBP blur the edges.


@pytest.mark.parametrize("suffix", ["tif", "jpg"])
def test_rotated_images_of_one_size_are_not_cropped(tmp_path, load, suffix):
  exif = Image.Exif()
  exif[decoding.ORIENTATION] = 6
  for i in range(20):
    path = tmp_path / "own" / "ab"[i % 2] / f"{i}.{suffix}"
    _save(path, np.full((16, 24), 10 * i, np.uint8), exif=exif)
  splits, notes = load(tmp_path / "own")
  assert splits.train.arrays["image"].shape[1:] == (24, 16, 1)
  assert notes == ""


def _deep(folder, values, dtype=np.uint16, suffix="png"):
  """Writes twenty images of two classes that contain all of `values`."""
  values = np.asarray(values, dtype)
  for number, label in enumerate("ab"):
    for i in range(10):
      image = np.random.default_rng([number, i]).permutation(values)
      image = image[: len(image) // 8 * 8].reshape(8, -1)
      _save(folder / label / f"{i}.{suffix}", image)
  return folder


@pytest.mark.parametrize("limit", [1 << 30, 0])
@pytest.mark.parametrize(
  ("highest", "dtype", "suffix"),
  [
    (4095, np.uint16, "png"),
    (255, np.uint16, "png"),
    pytest.param(255, np.uint16, "tif", marks=pytest.mark.slow),
    pytest.param(65535, np.uint16, "png", marks=pytest.mark.slow),
    pytest.param(10**6, np.int32, "tif", marks=pytest.mark.slow),
  ],
)
def test_deep_images_keep_256_levels_whatever_their_range(
  tmp_path, load, highest, dtype, suffix, limit
):
  values = np.linspace(0, highest, 256).astype(dtype)
  folder = _deep(tmp_path / "own", values, dtype, suffix)
  splits, notes = load(folder, in_memory_limit=limit)
  images = splits.train.read(np.arange(splits.train.size))["image"]
  np.testing.assert_array_equal(np.unique(images), np.arange(256))
  assert f"their values 0 to {highest:g} become 0 to 255" in notes
  assert splits.train.info.schema.value_range == (0, highest)


def test_predicting_scales_deep_images_as_training_did(tmp_path, load):
  folder = _deep(tmp_path / "own", np.arange(1000, 1256))
  splits, _ = load(folder, valid_fraction=0.0)
  content = json.loads(json.dumps(data.info_to_json(splits.train.info)))
  info = data.info_from_json(content)
  assert info == splits.train.info
  batch = next(info.schema.read(sorted(folder.glob("*/*.png")), info, 99))
  known = {x.tobytes() for p in splits if p for x in p.arrays["image"]}
  assert {x.tobytes() for x in batch.arrays["image"]} == known
  # Other images do not change the scale, and are clipped.
  _save(tmp_path / "new.png", np.full((8, 32), 1128, np.uint16))
  _save(tmp_path / "high.png", np.full((8, 32), 9999, np.uint16))
  paths = [tmp_path / "new.png", tmp_path / "high.png"]
  batch = next(info.schema.read(paths, info, 99))
  assert np.unique(batch.arrays["image"][0]).tolist() == [128]
  assert np.unique(batch.arrays["image"][1]).tolist() == [255]


def test_runs_without_a_range_keep_the_scale_of_sixteen_bits(tmp_path, load):
  folder = _deep(tmp_path / "own", np.arange(0, 65536, 257))
  splits, _ = load(folder, value_range=(0, 65535))
  content = json.loads(json.dumps(data.info_to_json(splits.train.info)))
  del content["schema"]["value_range"]
  info = data.info_from_json(content)
  batch = next(info.schema.read([folder / "a" / "0.png"], info, 1))
  stored = np.asarray(Image.open(folder / "a" / "0.png"))
  np.testing.assert_array_equal(
    batch.arrays["image"][0, ..., 0], np.rint(stored / 257)
  )


def test_the_range_is_that_of_the_training_images(tmp_path, load):
  folder = _deep(tmp_path / "own", np.arange(256))
  splits, _ = load(folder, value_range=(0, 255))
  tested = {x.tobytes() for x in splits.test.arrays["image"]}
  for path in folder.glob("*/*.png"):
    pixels = np.asarray(Image.open(path))
    if pixels.astype(np.uint8).tobytes() in tested:
      _save(path, np.full((8, 32), 40000, np.uint16))
  splits, _ = load(folder)
  assert splits.train.info.schema.value_range == (0, 255)
  assert set(np.unique(splits.test.arrays["image"])) == {255}


def test_another_range_gives_a_streamed_set_another_checksum(tmp_path, load):
  folder = _deep(tmp_path / "own", np.arange(256))
  sums = [
    load(folder, in_memory_limit=0, **settings)[0].train.info.sha256
    for settings in ({}, {"value_range": (0, 4095)}, {"value_range": (0, 255)})
  ]
  assert sums[0] == sums[2] != sums[1]


def test_a_constant_deep_set_is_read(tmp_path, load):
  folder = _deep(tmp_path / "own", np.full(256, 7))
  splits, _ = load(folder)
  assert splits.train.info.schema.value_range == (7, 8)
  content = json.loads(json.dumps(data.info_to_json(splits.train.info)))
  assert data.info_from_json(content) == splits.train.info


@pytest.mark.parametrize(
  "value_range", [(1,), (5, 5), (9, 1), (0, float("nan")), ("a", "b")]
)
def test_a_malformed_range_is_refused(folder, load, value_range):
  _refused("expected value_range", load, folder, value_range=value_range)
  info = load(folder)[0].train.info
  content = data.info_to_json(info)
  content["schema"]["value_range"] = list(value_range)
  with pytest.raises(ValueError, match="value_range"):
    data.info_from_json(content)


def test_color_images_of_sixteen_bits_are_noted(folder, load):
  pixels = np.zeros((6, 5, 3), np.uint16)
  (folder / "cat" / "deep.png").write_bytes(
    stand_ins.encode_png(pixels).numpy()
  )
  _, notes = load(folder)
  assert "1 of 41 images have several channels of 16 bits, of which" in notes


def test_files_that_are_too_large_are_refused(folder, load, monkeypatch):
  with (folder / "cat" / "huge.png").open("wb") as file:
    file.truncate(opening.MAX_FILE_BYTES + 1)
  text = _refused("got 1 unreadable", load, folder)
  assert "more than 536,870,912" in text


def test_a_pipe_is_not_waited_for(tmp_path):
  os.mkfifo(tmp_path / "pipe.png")
  with pytest.raises(decoding.UnreadableError, match="not a plain file"):
    decoding.header(tmp_path / "pipe.png")


@pytest.mark.slow
def test_small_files_of_large_images_take_bounded_memory(tmp_path, peak_memory):
  for label in "ab":
    image = np.zeros((5000, 5000), np.uint16)
    image[::100] = 4000
    _save(tmp_path / "own" / label / "0.png", image)
    os.link(
      tmp_path / "own" / label / "0.png", tmp_path / "own" / label / "1.png"
    )
  program = (
    "from dlcore import data\n"
    f"data.load('image_folder', path={str(tmp_path / 'own')!r},"
    f" cache_dir={str(tmp_path / 'cache')!r}, test_fraction=0.5,"
    " valid_fraction=0.0)\n"
  )
  _, peak = peak_memory(program)
  # Kilobytes. The images have 0.1 GB, twice while they are divided.
  assert peak < 700_000


def test_sampled_statistics_do_not_depend_on_the_pieces(monkeypatch):
  random = np.random.default_rng(0)
  arrays = {
    "image": random.integers(0, 256, (50, 4, 4, 3), np.uint8),
    "target": random.random(50).astype(np.float32),
  }
  source = data.from_arrays(arrays)
  whole = normalization.with_statistics(source.info.schema, arrays)
  read = []

  def rows_of(rows):
    read.append(len(rows))
    return source.read(rows)

  monkeypatch.setattr(normalization, "PIECE_VALUES", 200)
  sampled, first = normalization.with_sampled_statistics(
    source.info.schema, rows_of, 50
  )
  assert sampled == whole
  assert max(read) == 200 // 48
  np.testing.assert_array_equal(first["image"], arrays["image"][:1])


@pytest.mark.parametrize(
  ("size", "channels", "shape"), [(0, 0, [1, 1, 3]), (8, 1, [8, 8, 1])]
)
def test_no_images_have_the_smallest_shape(size, channels, shape):
  assert conversion.common_shape([], size, channels) == (shape, [])

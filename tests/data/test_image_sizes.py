"""The size to which images are resized, and its cost for large photos."""

import collections
import json
import logging

import numpy as np
import pytest
from PIL import Image

from dlcore import data
from dlcore.data.images import conversion, decoding
from dlcore.errors import UserError


def _save(path, height, width, seed=0, **settings):
  """Writes a smooth random picture."""
  path.parent.mkdir(parents=True, exist_ok=True)
  pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
  image = Image.fromarray(pixels).resize((width, height), Image.BILINEAR)
  image.save(path, **settings)


def _folder(folder, sizes, suffix="jpg"):
  """Writes one picture of every size to each of two classes."""
  for number, size in enumerate(sizes):
    _save(folder / "cat" / f"{number}.{suffix}", *size, seed=number)
    _save(folder / "dog" / f"{number}.{suffix}", *size, seed=number + 100)
  return folder


@pytest.fixture
def load(tmp_path, caplog):
  """Loads a folder, with the notes that were logged."""

  def load(path, **settings):
    caplog.clear()
    caplog.set_level(logging.WARNING)
    settings = {"valid_fraction": 0.0, **settings}
    splits = data.load(
      "image_folder",
      path=str(path),
      cache_dir=str(tmp_path / "cache"),
      **settings,
    )
    return splits, "\n".join(caplog.messages)

  return load


def _shape(splits):
  return splits.train.info.inputs["image"][0][:2]


@pytest.mark.parametrize(
  ("sizes", "expected"),
  [
    ({(30, 40): 6, (20, 20): 5}, (30, 40)),
    ({(500, 375): 6, (375, 500): 5}, (500, 375)),
    ({(480, 640): 10}, (224, 224)),
    ({(100, 640): 10}, (100, 100)),
    ({(30, 40): 5, (20, 25): 5}, (20, 20)),
    ({(30, 40): 1, (50, 45): 1, (100, 300): 1}, (45, 45)),
    ({(600, 500): 1, (900, 800): 1, (700, 2000): 1}, (224, 224)),
    ({(1, 900): 3}, (1, 1)),
  ],
)
def test_the_size_is_that_of_most_images_or_a_square_of_the_median(
  sizes, expected
):
  assert conversion.common_size(collections.Counter(sizes), 224) == expected
  largest = max(sizes, key=lambda size: (sizes[size], size))
  assert conversion.common_size(collections.Counter(sizes), 0) == largest


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_photos_become_squares_which_one_note_reports(tmp_path, load, limit):
  sizes = [(600, 800)] * 4 + [(800, 600)] * 2
  folder = _folder(tmp_path / "own", sizes)
  splits, notes = load(folder, in_memory_limit=limit)
  assert _shape(splits) == (224, 224)
  assert notes == (
    "12 of 12 images are scaled and cropped to 224 rows and 224 columns "
    "(image_size=0; 8 of 600x800, 4 of 800x600)"
  )
  assert _shape(load(folder, max_size=100)[0]) == (100, 100)
  assert _shape(load(folder, image_size=64)[0]) == (64, 64)


def test_a_stored_config_keeps_size_and_pixels_of_version_0_2(tmp_path, load):
  sizes = [(600, 800)] * 4 + [(800, 600)] * 2
  folder = _folder(tmp_path / "own", sizes)
  old = {"max_size": 0, "resize": "exact"}
  splits, notes = load(folder, **old)
  assert _shape(splits) == (600, 800)
  assert "4 of 12 images are scaled" in notes
  exact = {
    decoding.decode(file, (600, 800, 3)).tobytes()
    for file in folder.glob("*/*.jpg")
  }
  assert {
    x.tobytes() for part in splits if part for x in part.arrays["image"]
  } == exact
  content = json.loads(json.dumps(data.info_to_json(splits.train.info)))
  del content["schema"]["resize"]
  assert data.info_from_json(content) == splits.train.info


@pytest.mark.parametrize("resize", decoding.RESIZE)
def test_predicting_resizes_images_as_training_did(tmp_path, load, resize):
  folder = _folder(tmp_path / "own", [(90 + 9 * i, 120) for i in range(10)])
  splits, _ = load(folder, resize=resize, image_size=20)
  info = splits.train.info
  content = json.loads(json.dumps(data.info_to_json(info)))
  assert data.info_from_json(content) == info
  batch = next(info.schema.read(sorted(folder.glob("*/*.jpg")), info, 99))
  known = {x.tobytes() for part in splits if part for x in part.arrays["image"]}
  assert {x.tobytes() for x in batch.arrays["image"]} == known


@pytest.mark.parametrize("interpolation", decoding.INTERPOLATIONS)
def test_images_are_resized_by_the_filter_of_pillow(
  tmp_path, load, interpolation
):
  folder = _folder(tmp_path / "own", [(60 + i, 60 + i) for i in range(10)])
  splits, _ = load(folder, image_size=20, interpolation=interpolation)
  [path] = folder.glob("cat/3.*")
  image = Image.open(path)
  number = decoding.INTERPOLATIONS[interpolation]
  expected = image.resize((20, 20), Image.Resampling(number))
  known = {x.tobytes() for part in splits if part for x in part.arrays["image"]}
  assert np.asarray(expected).tobytes() in known


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_of_reduced_size_equals_the_whole_one(tmp_path, orientation):
  exif = Image.Exif()
  exif[decoding.ORIENTATION] = orientation
  _save(tmp_path / "a.jpg", 600, 900, exif=exif, quality=95)
  exact, crop = (
    decoding.decode(tmp_path / "a.jpg", (50, 40, 3), resize=resize)
    for resize in ("exact", "crop")
  )
  # Of 255: averages of 4 x 4 pixels in place of the pixels.
  assert np.abs(exact.astype(int) - crop).max() <= 3


def test_padding_keeps_all_of_an_image(tmp_path):
  Image.new("L", (40, 20), 200).save(tmp_path / "a.png")
  padded = decoding.decode(tmp_path / "a.png", (20, 20, 1), resize="pad")
  assert (padded[5:15] == 200).all()
  assert (padded[:5] == 0).all()
  assert (padded[15:] == 0).all()


def test_a_truncated_photo_of_a_stream_is_reported(tmp_path, load):
  folder = _folder(tmp_path / "own", [(700, 600)] * 6)
  path = folder / "cat" / "0.jpg"
  path.write_bytes(path.read_bytes()[:-3000])
  for limit in (1 << 30, 0):
    with pytest.raises(UserError, match=r"got 1 unreadable images: .*0\.jpg"):
      load(folder, in_memory_limit=limit)


@pytest.mark.parametrize(
  ("settings", "match"),
  [
    ({"resize": "squish"}, "'crop', 'pad' or 'exact'"),
    ({"interpolation": "cubic"}, "did you mean|'bicubic'"),
    ({"max_size": -1}, "max_size at least 0"),
    ({"max_size": 10**6}, "max_size of at most 8000"),
  ],
)
def test_a_size_out_of_range_is_refused(tmp_path, load, settings, match):
  folder = _folder(tmp_path / "own", [(5, 6)] * 10, "png")
  with pytest.raises(UserError, match=match) as caught:
    load(folder, **settings)
  assert len(caught.value.lines) <= 3


@pytest.mark.slow
def test_photos_of_a_phone_take_bounded_memory(tmp_path, peak_memory):
  for number in range(24):
    path = tmp_path / "own" / "ab"[number % 2] / f"{number}.jpg"
    _save(path, 3024, 4032, seed=number)
  _, peak = peak_memory(
    "from dlcore import data\n"
    f"splits = data.load('image_folder', path={str(tmp_path / 'own')!r},"
    f" cache_dir={str(tmp_path / 'cache')!r})\n"
    "assert splits.train.arrays['image'].shape[1:] == (224, 224, 3)\n"
  )
  assert peak < 600_000  # Kilobytes; the decoded photos have 0.9 GB.

"""The folders that the campaign `image_scores` trains on."""

import gzip
import struct

import numpy as np
import pytest
from campaigns import image_folders
from PIL import Image

from dlcore import data
from dlcore.errors import UserError


@pytest.fixture
def icons(tmp_path):
  """Icons of 64x64 and 128x128 pixels in three contexts, and links to some."""
  for size in (64, 128):
    for context, count in (("apps", 25), ("devices", 21), ("places", 19)):
      folder = tmp_path / "theme/oxygen/base" / f"{size}x{size}" / context
      folder.mkdir(parents=True)
      for i in range(count):
        Image.new("RGBA", (size, size), (i, 9, 9, 255)).save(
          folder / f"{i}.png"
        )
      (folder / "link.png").symlink_to("0.png")
  return tmp_path


def test_contexts_with_few_icons_and_links_are_left_out(icons, tmp_path):
  image_folders.make_icons(tmp_path / "out", icons)
  counts = {
    folder.name: len(list(folder.iterdir()))
    for folder in (tmp_path / "out").iterdir()
  }
  assert counts == {"apps": 25, "devices": 21}


def test_a_missing_theme_is_refused(tmp_path):
  with pytest.raises(UserError, match="oxygen-icon-theme"):
    image_folders.make_icons(tmp_path / "out", tmp_path)


def test_mnist_keeps_its_splits_labels_and_pixels(tmp_path):
  random = np.random.default_rng(0)
  written = {}
  for split, prefix, count in (("train", "train", 30), ("test", "t10k", 20)):
    images = random.integers(0, 256, (count, 28, 28), np.uint8)
    labels = np.arange(count, dtype=np.uint8) % 10
    written[split] = images, labels
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
      head = struct.pack(
        f">{1 + array.ndim}i", 0x800 + array.ndim, *array.shape
      )
      path = tmp_path / f"{prefix}-{kind}-ubyte.gz"
      path.write_bytes(gzip.compress(head + array.tobytes()))
  image_folders.make_mnist(tmp_path / "out", tmp_path, 28)
  splits = data.load(
    "image_folder",
    path=str(tmp_path / "out"),
    valid_fraction=0,
    cache_dir=str(tmp_path / "cache"),
  )
  for split in ("train", "test"):
    source = getattr(splits, split)
    loaded = {
      image.tobytes(): label
      for image, label in zip(*source.arrays.values(), strict=True)
    }
    images, labels = written[split]
    assert len(loaded) == len(images)
    for image, label in zip(images, labels, strict=True):
      assert loaded[image.tobytes()] == label

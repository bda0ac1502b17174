"""Folders of images of several kinds, for the campaign `image_scores`."""

import gzip
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from dlcore import data
from dlcore.errors import UserError

SMALL_CLASS = 20
"""Classes with fewer icons are left out."""


def make_icons(folder: Path, root: Path) -> None:
  """Writes icons of 64x64 pixels: a class for each context.

  Args:
    folder: the new folder, as for the other functions.
    root: see `find_icons`.
  """
  for context, icons in find_icons(root, 64).items():
    if len(icons) >= SMALL_CLASS:
      _copy(icons, folder / context)


def make_sixty(folder: Path, root: Path) -> None:
  """Writes 60 icons of 128x128 pixels in three classes."""
  icons = find_icons(root, 128)
  for context in ("apps", "devices", "places"):
    _copy(icons[context][:SMALL_CLASS], folder / context)


def find_icons(root: Path, size: int) -> dict[str, list[Path]]:
  """Returns the icons of a size by context, without links to others.

  Args:
    root: folder of the unpacked package oxygen-icon-theme.
    size: rows and columns.

  Raises:
    UserError: the folder has no icons.
  """
  icons: dict[str, list[Path]] = {}
  for path in sorted(root.glob(f"**/oxygen/base/{size}x{size}/*/*.png")):
    if not path.is_symlink():
      icons.setdefault(path.parent.name, []).append(path)
  if not icons:
    raise UserError(
      "expected a folder with the files of oxygen-icon-theme",
      f"got {root}",
      "apt-get download oxygen-icon-theme; dpkg -x oxygen-icon-theme_*.deb DIR",
    )
  return icons


def _copy(paths: list[Path], folder: Path) -> None:
  folder.mkdir(parents=True)
  for path in paths:
    shutil.copy(path, folder)


def make_digits(folder: Path) -> None:
  """Writes scikit-learn's digits: the first half is train, the second test."""
  for split, source in data.load("digits", valid_fraction=0)._asdict().items():
    if source is not None:
      arrays = data.read_all(source)
      save_images(folder / split, arrays["image"][..., 0], arrays["label"])


def make_mnist(folder: Path, root: Path, size: int) -> None:
  """Writes MNIST, enlarged to `size` rows and columns.

  Args:
    folder: the new folder.
    root: folder of the four original files.
    size: rows and columns.
  """
  for split, prefix in (("train", "train"), ("test", "t10k")):
    images, labels = (
      read_idx(root / f"{prefix}-{kind}.gz")
      for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    save_images(folder / split, images, labels, size)


def read_idx(path: Path) -> np.ndarray:
  """Returns the bytes of a file of MNIST, uint8 `[N]` or `[N, Y, X]`."""
  content = gzip.decompress(path.read_bytes())
  axes = content[3]
  shape = np.frombuffer(content, ">i4", axes, offset=4)
  return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def save_images(
  folder: Path, images: np.ndarray, labels: np.ndarray, size: int = 0
) -> None:
  """Writes images `[N, Y, X]` as PNG files into the folders of their classes.

  Args:
    folder: the new folder.
    images: uint8 `[N, Y, X]`.
    labels: int `[N]`.
    size: rows and columns of the files, 0 for Y and X.
  """
  for label in np.unique(labels):
    (folder / str(label)).mkdir(parents=True)
  for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
    image = Image.fromarray(pixels)
    if size:
      image = image.resize((size, size), Image.Resampling.BILINEAR)
    image.save(folder / str(label) / f"{number:05}.png")

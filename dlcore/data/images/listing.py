"""Image files in class folders, and the report of unreadable ones."""

import collections
import concurrent.futures
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from dlcore.data import bad_examples, split
from dlcore.data.images import decoding
from dlcore.errors import UserError

SUFFIXES = {
  ".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif",
  ".tiff", ".webp",
}  # fmt: skip
"""Suffixes of image files; all other files are ignored."""

SPLITS = {
  "train": "train",
  "valid": "valid",
  "val": "valid",
  "validation": "valid",
  "test": "test",
}
"""Split by the name of its folder."""


class Item(NamedTuple):
  """One image file."""

  path: pathlib.Path
  label: str

  @property
  def name(self) -> str:
    """Class and file name, whose hash decides the split."""
    return f"{self.label}/{self.path.name}"


class Attempts(NamedTuple):
  """Results of reading the images of a split."""

  results: list[tuple[Item, Any]]
  errors: list[tuple[Item, str]]
  """Unreadable images and the reasons."""


def folders_of(
  path: str, train: str, valid: str, test: str
) -> dict[str, pathlib.Path]:
  """Returns the folder of every split.

  Raises:
    UserError: a folder is missing.
  """
  folders = split.split_paths(path, train, valid, test)
  for folder in folders.values():
    if not folder.is_dir():
      raise UserError(
        "expected a folder with a folder of images for every class",
        f"got {'a file' if folder.exists() else 'no folder'} at {folder}",
      )
  inside = {
    SPLITS[entry.name]: entry
    for entry in sorted(folders["train"].iterdir())
    if path and entry.name in SPLITS and entry.is_dir()
  }
  if inside and "train" not in inside:
    raise UserError(
      f"expected a folder 'train' in {path}",
      f"got {', '.join(sorted(entry.name for entry in inside.values()))}",
      "name the folder of the training images 'train'",
    )
  return inside or folders


def listing(folder: pathlib.Path) -> tuple[list[Item], int]:
  """Lists the images of a split, and counts links to outside of its folder.

  Raises:
    UserError: there are no class folders, or one has no images.
  """
  root = folder.resolve()
  ignored = 0

  def entries(parent: pathlib.Path) -> list[pathlib.Path]:
    nonlocal ignored
    entries_inside = []
    for path in sorted(parent.iterdir()):
      if path.name.startswith("."):
        continue
      if path.is_symlink() and not path.resolve().is_relative_to(root):
        ignored += 1
        continue
      entries_inside.append(path)
    return entries_inside

  classes = [path for path in entries(folder) if path.is_dir()]
  if not classes:
    raise UserError(
      f"expected a folder for every class in {folder}",
      "got no folders" if any(folder.iterdir()) else "got an empty folder",
      "put the images of a class in a folder of its name",
    )
  items = []
  for label in classes:
    images_of_class = [
      Item(path, label.name)
      for path in entries(label)
      if path.suffix.lower() in SUFFIXES and path.is_file()
    ]
    if not images_of_class:
      raise UserError(
        f"expected images in every class folder of {folder}",
        f"got no image in {label.name!r}",
        f"add some ({', '.join(sorted(SUFFIXES))}) or remove the folder",
      )
    items += images_of_class
  return items, ignored


def in_threads(
  function: Callable[[pathlib.Path], Any], files: Sequence[pathlib.Path]
) -> list[Any]:
  """Returns `function(file)` for every file, computed in threads."""
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
    return list(threads.map(function, files))


def attempt(
  function: Callable[[pathlib.Path], Any],
  items: Sequence[Item],
  errors: Sequence[tuple[Item, str]] = (),
  map_files: Callable[..., list[Any]] = in_threads,
) -> Attempts:
  """Calls `function(path)` for every item and collects results and errors.

  Args:
    function: never returns None.
    items: the image files.
    errors: of earlier calls, to which the new ones are added.
    map_files: `(function, files) -> results`, such as `cache.per_file`. Errors
      are not cached, as permissions and disks may be repaired.
  """
  reasons = {}

  def one(file: pathlib.Path) -> Any:
    try:
      return function(file)
    except decoding.UnreadableError as error:
      reasons[file] = str(error)
      return None

  values = map_files(one, [item.path for item in items])
  return Attempts(
    [
      (item, value)
      for item, value in zip(items, values, strict=True)
      if item.path not in reasons
    ],
    [
      *errors,
      *((item, reasons[item.path]) for item in items if item.path in reasons),
    ],
  )


def common_shape(
  headers: Sequence[decoding.Header], image_size: int, channels: int
) -> tuple[list[int], list[str]]:
  """Returns the shape of all decoded images, and notes on the conversions.

  Args:
    headers: of the image files.
    image_size: rows and columns; 0 for the most frequent size.
    channels: 1 or 3; 0 for 1 if all images are gray, else 3.
  """
  if not headers:
    return [image_size or 1, image_size or 1, channels or 3], []
  sizes = collections.Counter(
    (header.height, header.width) for header in headers
  )
  height, width = max(sizes, key=lambda size: (sizes[size], size))
  if image_size:
    height = width = image_size
  channels = channels or (1 if all(header.is_gray for header in headers) else 3)
  notes = []
  total = len(headers)
  others = total - sizes[height, width]
  if others:
    notes.append(
      f"{others} of {total} images are scaled and cropped to {height} rows and "
      f"{width} columns ({image_size=})"
    )
  target_mode = "L" if channels == 1 else "RGB"
  modes = collections.Counter(header.mode for header in headers)
  del modes[target_mode]
  if modes:
    formats = ", ".join(
      f"{count} {mode}" for mode, count in sorted(modes.items())
    )
    notes.append(
      f"{sum(modes.values())} of {total} images are converted to "
      f"{target_mode} ({formats}; {channels=})"
    )
  return [height, width, channels], notes


def report_unreadable(parts: Mapping[str, Attempts], on_bad: str) -> list[str]:
  """Returns a note on the skipped images, if there are any.

  Args:
    parts: results by split.
    on_bad: `"error"` or `"skip"`.

  Raises:
    UserError: `on_bad` is "error", or a class has no readable image.
  """
  errors, empty = [], set()
  for part in parts.values():
    errors += [(str(item.path), reason) for item, reason in part.errors]
    readable = {item.label for item, _ in part.results}
    empty |= {
      str(item.path.parent)
      for item, _ in part.errors
      if item.label not in readable
    }
  every = bad_examples.shorten(sorted(empty))
  return bad_examples.report(
    errors,
    on_bad,
    noun="unreadable images",
    expected=f"expected readable images{every and ' in ' + every}",
    remedy="fix or remove them"
    + ("" if empty else ', or skip them with on_bad="skip"'),
    empty=bool(empty),
  )

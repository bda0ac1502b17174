"""Folders of pictures: what lies there, and what can be read of it."""

import collections
import concurrent.futures
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from dlcore.data import images, split
from dlcore.errors import UserError

SUFFIXES = {
  ".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif",
  ".tiff", ".webp",
}  # fmt: skip
"""Of the files that are taken for pictures; all others are ignored."""

SPLITS = {
  "train": "train",
  "valid": "valid",
  "val": "valid",
  "validation": "valid",
  "test": "test",
}
"""Names of the folders of splits, and the splits."""


class Item(NamedTuple):
  """One picture."""

  path: pathlib.Path
  label: str

  @property
  def name(self) -> str:
    """The class and the file: what decides whether it is held out."""
    return f"{self.label}/{self.path.name}"


class Attempts(NamedTuple):
  """What came of reading the pictures of a split."""

  read: list[tuple[Item, Any]]
  bad: list[tuple[Item, str]]


def folders_of(
  path: str, train: str, valid: str, test: str
) -> dict[str, pathlib.Path]:
  """Returns the folder of every split that has one."""
  folders = split.paths(path, train, valid, test)
  for folder in folders.values():
    if not folder.is_dir():
      raise UserError(
        "expected a folder with a folder of pictures for every class",
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
      "name the folder of the training pictures 'train'",
    )
  return inside or folders


def listing(folder: pathlib.Path) -> tuple[list[Item], int]:
  """Lists the pictures of a split, and counts the links that leave it.

  Raises:
    UserError: there are no class folders, or one has no pictures.
  """
  root = folder.resolve()
  ignored = 0

  def entries(parent: pathlib.Path) -> list[pathlib.Path]:
    nonlocal ignored
    kept = []
    for path in sorted(parent.iterdir()):
      if path.name.startswith("."):
        continue
      if path.is_symlink() and not path.resolve().is_relative_to(root):
        ignored += 1
        continue
      kept.append(path)
    return kept

  classes = [path for path in entries(folder) if path.is_dir()]
  if not classes:
    raise UserError(
      f"expected a folder for every class in {folder}",
      "got none" if any(folder.iterdir()) else "got an empty folder",
      "put the pictures of a class in a folder of its name",
    )
  items = []
  for label in classes:
    pictures = [
      Item(path, label.name)
      for path in entries(label)
      if path.suffix.lower() in SUFFIXES and path.is_file()
    ]
    if not pictures:
      raise UserError(
        f"expected pictures in every class folder of {folder}",
        f"got none in {label.name!r}",
        f"add some ({', '.join(sorted(SUFFIXES))}) or remove the folder",
      )
    items += pictures
  return items, ignored


def in_threads(
  function: Callable[[pathlib.Path], Any], files: Sequence[pathlib.Path]
) -> list[Any]:
  """Returns `function(file)` of every file."""
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
    return list(threads.map(function, files))


def attempt(
  function: Callable[[pathlib.Path], Any],
  items: Sequence[Item],
  bad: Sequence[tuple[Item, str]] = (),
  over: Callable[..., list[Any]] = in_threads,
) -> Attempts:
  """Calls `function(path)` for every item; adds to the bad ones.

  Args:
    function: returns something else than None.
    items: the pictures.
    bad: those that were found before.
    over: calls it for all files, such as a `cache.per_file` that keeps the
      results. Reasons are not kept: a right may be given, a disk mended.
  """
  reasons = {}

  def one(file: pathlib.Path) -> Any:
    try:
      return function(file)
    except images.UnreadableError as error:
      reasons[file] = str(error)
      return None

  values = over(one, [item.path for item in items])
  return Attempts(
    [
      (item, value)
      for item, value in zip(items, values, strict=True)
      if item.path not in reasons
    ],
    [
      *bad,
      *((item, reasons[item.path]) for item in items if item.path in reasons),
    ],
  )


def common_shape(
  headers: Sequence[images.Header], image_size: int, channels: int
) -> tuple[list[int], list[str]]:
  """Returns the shape that all pictures are brought to, and what that changes.

  With neither set, it is the size that most pictures have.
  """
  if not headers:
    return [image_size or 1, image_size or 1, channels or 3], []
  sizes = collections.Counter(
    (header.height, header.width) for header in headers
  )
  height, width = max(sizes, key=lambda size: (sizes[size], size))
  if image_size:
    height = width = image_size
  channels = channels or (1 if all(header.grey for header in headers) else 3)
  notes = []
  total = len(headers)
  others = total - sizes[height, width]
  if others:
    notes.append(
      f"{others} of {total} pictures are scaled and cut to {height} rows and "
      f"{width} columns (data.image_size={image_size})"
    )
  kept = "L" if channels == 1 else "RGB"
  modes = collections.Counter(header.mode for header in headers)
  del modes[kept]
  if modes:
    kinds = ", ".join(
      f"{count} {mode}" for mode, count in sorted(modes.items())
    )
    notes.append(
      f"{sum(modes.values())} of {total} pictures are converted to {kept} "
      f"({kinds}; data.channels={channels})"
    )
  return [height, width, channels], notes


def judge(found: Mapping[str, Attempts], on_bad: str) -> list[str]:
  """Returns a note on unreadable pictures where they are skipped.

  Raises:
    UserError: there are such pictures and they are not to be skipped, or a
      class has no others.
  """
  bad = [entry for part in found.values() for entry in part.bad]
  if not bad:
    return []
  shown = "; ".join(f"{item.path}: {why}" for item, why in bad)
  if on_bad == "error":
    raise UserError(
      "expected pictures that can be read",
      f"got {len(bad)} that cannot: {shown}",
      "mend or remove them, or leave them out with data.on_bad=skip",
    )
  for name, part in found.items():
    left = {item.label for item, _ in part.read}
    lost = {item.label for item, _ in part.bad} - left
    if lost:
      raise UserError(
        f"expected pictures that can be read in every class of {name}",
        f"got none in {split.listed(map(repr, lost))}: {shown}",
        "mend them or remove the folder",
      )
  return [f"{len(bad)} unreadable pictures were left out: {shown}"]

"""Image files in class folders."""

import collections
import os
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

from dlcore.data import split
from dlcore.data.bad_examples import MAX_LISTED
from dlcore.data.images.opening import suffixes
from dlcore.errors import UserError

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

  name: str
  """Class, folders inside of it and file name; its hash decides the split."""


def folders_of(
  path: str, train: str, valid: str, test: str
) -> dict[str, pathlib.Path]:
  """Returns the folder of every split.

  Raises:
    UserError: a folder is missing.
  """
  folders = split.split_paths(path, train, valid, test)
  for folder in folders.values():
    if not os.path.isdir(folder):
      noun = "a file" if os.path.exists(folder) else "no folder"
      raise UserError(
        "expected a folder with a folder of images for every class",
        f"got {noun} at {folder}",
      )
  return (_folders_inside(folders["train"]) if path else {}) or folders


def _folders_inside(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """Returns the folders of the splits in `folder`, empty without any."""
  names = sorted(SPLITS.keys() & {e.name for e in _entries(folder)})
  names = [name for name in names if os.path.isdir(folder / name)]
  inside = {SPLITS[name]: folder / name for name in names}
  if inside and "train" not in inside:
    raise UserError(
      f"expected a folder 'train' in {folder}",
      f"got {', '.join(names)}",
      "name the folder of the training images 'train'",
    )
  if len(inside) < len(names):
    raise UserError(
      f"expected one folder for each split in {folder}",
      f"got {', '.join(names)}",
      "move the images of a split into one folder",
    )
  return inside


def listing(
  folder: pathlib.Path,
) -> tuple[list[Item], collections.Counter[str]]:
  """Lists the images of a split, in class folders and the folders in them.

  Links to outside of the split's folder and, inside of a class folder, links
  to folders are not followed, so a loop of links ends.

  Returns:
    The images, and the number of entries that are left out by the reason, a
    plural noun phrase.

  Raises:
    UserError: there are no class folders, one has no images, or a folder
      cannot be read.
  """
  root = folder.resolve()
  left_out: collections.Counter[str] = collections.Counter()
  classes = []
  for path in _entries(folder):
    if reason := _reason_to_ignore(path, root):
      left_out[reason] += 1
    elif os.path.isdir(path) and path.resolve() not in (root, *root.parents):
      classes.append(path)
    else:
      left_out["entries that are not in a class folder"] += 1
  if not classes:
    raise UserError(
      f"expected a folder for every class in {folder}",
      "got no folders" if any(folder.iterdir()) else "got an empty folder",
      "put the images of a class in a folder of its name",
    )
  items = []
  for label in classes:
    images_of_class = _images(label, root, left_out)
    if not images_of_class:
      raise UserError(
        f"expected images in every class folder of {folder}",
        f"got no image in {label.name!r}",
        f"add some ({', '.join(sorted(suffixes()))}) or remove the folder",
      )
    items += images_of_class
  return items, left_out


def _images(
  label: pathlib.Path, root: pathlib.Path, left_out: collections.Counter[str]
) -> list[Item]:
  """Lists the images in a class folder, and counts the other entries."""
  items, pending = [], [label]
  while pending:
    for path in _entries(pending.pop()):
      if reason := _reason_to_ignore(path, root):
        left_out[reason] += 1
      elif os.path.isdir(path):
        if path.is_symlink():
          left_out["links to folders"] += 1
        else:
          pending.append(path)
      elif path.suffix.lower() not in suffixes():
        left_out[f"files with the suffix {path.suffix.lower()!r}"] += 1
      elif not os.path.isfile(path):
        left_out["entries that are not plain files"] += 1
      else:
        name = path.relative_to(label).as_posix()
        items.append(Item(path, label.name, f"{label.name}/{name}"))
  return sorted(items)


def _reason_to_ignore(path: pathlib.Path, root: pathlib.Path) -> str:
  """Returns why an entry is left out whatever it is, or `""`."""
  if path.name.startswith("."):
    return "hidden entries"
  if not path.is_symlink():
    return ""
  try:
    if path.resolve(strict=True).is_relative_to(root):
      return ""
  except FileNotFoundError:
    return "links to missing files"
  except (OSError, RuntimeError):  # RuntimeError before Python 3.13.
    return "links that lead in a circle"
  return "links that leave the folder"


def _entries(folder: pathlib.Path) -> list[pathlib.Path]:
  try:
    return sorted(folder.iterdir())
  except OSError as error:
    raise UserError(
      f"expected a readable folder at {folder}",
      f"got: {error.strerror or error}",
    ) from error


def describe_left_out(counts: Mapping[str, int]) -> list[str]:
  """Returns notes on the entries that `listing` left out, by their reason."""
  ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
  listed, others = ordered[:MAX_LISTED], ordered[MAX_LISTED:]
  if others:
    listed.append(("other entries", sum(count for _, count in others)))
  return [f"{count} {reason} were ignored" for reason, count in listed]

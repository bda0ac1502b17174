"""Image files in folders, and those in class folders with their labels."""

import collections
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dlcore.data.bad_examples import MAX_LISTED, shorten
from dlcore.data.images.opening import HEIF_PACKAGE, HEIF_SUFFIXES, suffixes
from dlcore.errors import UserError, install_hint
from dlcore.filesystem.hidden import is_hidden

Label = str | tuple[str, ...]
"""The name of a class, a number as text, or several labels."""


class Item(NamedTuple):
  """One image file."""

  path: pathlib.Path
  label: Label

  name: str
  """Class, folders inside of it and file name, or the file name of a table; its
  hash decides the split."""

  columns: tuple[str, ...] = ()
  """Cells of the columns of groups, times and splits, `""` without one."""

  @property
  def is_in_class_folder(self) -> bool:
    """Whether the label is the name of a folder, not from a table."""
    return self.name.startswith(f"{self.label}/")


class Listing(NamedTuple):
  """The images of a split."""

  items: list[Item]

  left_out: collections.Counter[str]
  """Number of entries that are left out by the reason, a plural noun phrase."""

  errors: Sequence[tuple[Item, str]] = ()
  """Images that a table names but that cannot be read, and the reasons."""


def listing(folder: pathlib.Path) -> Listing:
  """Lists the images of a split, in class folders and the folders in them.

  Links to outside of the split's folder and, inside of a class folder, links
  to folders are not followed, so a loop of links ends.

  Raises:
    UserError: there are no class folders, one has no images, or a folder
      cannot be read.
  """
  root = folder.resolve()
  left_out: collections.Counter[str] = collections.Counter()
  classes = []
  for path in entries(folder):
    if reason := reason_to_ignore(path, root):
      left_out[reason] += 1
    elif os.path.isdir(path) and path.resolve() not in (root, *root.parents):
      classes.append(path)
    else:
      left_out["entries that are not in a class folder"] += 1
  if not classes:
    raise _no_folders(folder)
  items = []
  for label in classes:
    files, others = find_images(label, root)
    if not files:
      raise _no_images(folder, label.name, others)
    items += sorted(
      Item(path, label.name, f"{label.name}/{_relative(path, label)}")
      for path in files
    )
    left_out += others
  if len(classes) == 1:
    _check_depth(folder, classes[0], items)
  return Listing(items, left_out)


def find_images(
  folder: pathlib.Path, root: pathlib.Path
) -> tuple[list[pathlib.Path], collections.Counter[str]]:
  """Lists the images in a folder and its folders, and counts other entries.

  Args:
    folder: the folder.
    root: links to outside of this resolved folder are not followed.
  """
  images, pending = [], [folder]
  left_out: collections.Counter[str] = collections.Counter()
  while pending:
    for path in entries(pending.pop()):
      suffix = path.suffix.lower()
      if reason := reason_to_ignore(path, root):
        left_out[reason] += 1
      elif os.path.isdir(path):
        if path.is_symlink():
          left_out["links to folders"] += 1
        else:
          pending.append(path)
      elif suffix not in suffixes():
        left_out[f"files with the suffix {suffix!r}"] += 1
      elif not os.path.isfile(path):
        left_out["entries that are not plain files"] += 1
      else:
        images.append(path)
  return images, left_out


def reason_to_ignore(path: pathlib.Path, root: pathlib.Path) -> str:
  """Returns why an entry is left out whatever it is, or `""`."""
  if is_hidden(path.name):
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


def entries(folder: pathlib.Path) -> list[pathlib.Path]:
  """Returns the sorted entries of a folder.

  Raises:
    UserError: it cannot be read.
  """
  try:
    return sorted(folder.iterdir())
  except OSError as error:
    raise UserError(
      f"expected a readable folder at {folder}",
      f"got: {error.strerror or error}",
    ) from error


def _no_folders(folder: pathlib.Path) -> UserError:
  names = [entry.name for entry in entries(folder)]
  images = sum(
    pathlib.Path(name).suffix.lower() in suffixes() for name in names
  )
  got = f"{images} images but no folders" if images else "no folders"
  return UserError(
    f"expected a folder for every class in {folder}",
    f"got {got}" if names else "got an empty folder",
    "put the images of a class in a folder of its name, or set labels to a "
    "table of file names and labels",
  )


def _no_images(
  folder: pathlib.Path, label: str, left_out: Mapping[str, int]
) -> UserError:
  listed = shorten(f"{count} {reason}" for reason, count in left_out.items())
  remedy = f"add some ({', '.join(sorted(suffixes()))}) or remove the folder"
  if any(reason in _HEIF for reason in left_out):
    remedy = f"install {HEIF_PACKAGE}: {install_hint('heif')}"
  elif any("leave" in reason for reason in left_out):
    remedy = "copy the files to which the links lead"
  return UserError(
    f"expected images in every class folder of {folder}",
    f"got no image in {label!r}" + (f", but {listed}" if listed else ""),
    remedy,
  )


def _check_depth(
  folder: pathlib.Path, only: pathlib.Path, items: Sequence[Item]
) -> None:
  """Checks that the only class folder does not hold the class folders.

  Raises:
    UserError: all of its images are in two or more folders inside of it.
  """
  paths = [item.path.relative_to(only).parts for item in items]
  inside = sorted({parts[0] for parts in paths if len(parts) > 1})
  if len(inside) > 1 and all(len(parts) > 1 for parts in paths):
    raise UserError(
      f"expected a folder for every class in {folder}",
      f"got one folder {only.name!r}, which holds the folders "
      f"{shorten(map(repr, inside))}",
      f"use {only} if these are the classes or splits",
    )


_HEIF = {f"files with the suffix {suffix!r}" for suffix in HEIF_SUFFIXES}


def describe_left_out(counts: Mapping[str, int]) -> list[str]:
  """Returns notes on the entries that `listing` left out, by their reason."""
  ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
  listed, others = ordered[:MAX_LISTED], ordered[MAX_LISTED:]
  if others:
    listed.append(("other entries", sum(count for _, count in others)))
  return [
    f"{count} {reason} were ignored"
    + (f": {HEIF_PACKAGE} reads them" if reason in _HEIF else "")
    for reason, count in listed
  ]


def _relative(path: pathlib.Path, folder: pathlib.Path) -> str:
  return path.relative_to(folder).as_posix()

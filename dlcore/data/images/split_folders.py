"""The folder or the table of labels of every split."""

import os
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

from dlcore.data import split
from dlcore.data.images.listing import entries
from dlcore.data.split_columns import SPLIT_NAMES
from dlcore.errors import UserError
from dlcore.filesystem.hidden import is_hidden

USUAL_SPLITS = ("train", "valid", "val", "validation", "test")
"""Names of folders that are splits even beside others."""

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson")
"""Suffixes of tables of labels, which may end in ".gz"."""

METADATA = ("metadata.csv", "metadata.jsonl")
"""Tables that Hugging Face's ImageFolder reads."""


class Place(NamedTuple):
  """Where the images of a split are."""

  folder: pathlib.Path

  table: pathlib.Path | None = None
  """Names of the images and their labels; None for class folders."""


def places_of(
  path: str, train: str, valid: str, test: str, labels: str
) -> dict[str, Place]:
  """Returns the place of every split.

  Args:
    path: one folder, or a table whose images are in its folder.
    train, valid, test: likewise, in place of `path`.
    labels: a table for all folders, "auto" for one of `METADATA` if there is
      one, or "" for class folders.

  Raises:
    UserError: a folder or a table is missing.
  """
  paths = split.split_paths(path, train, valid, test)
  table = _table(labels) if labels not in ("", "auto") else None
  for at in paths.values():
    if not os.path.isdir(at) and not (os.path.isfile(at) and is_table(at)):
      noun = "a file" if os.path.exists(at) else "no folder"
      raise UserError(
        "expected a folder with a folder of images for every class",
        f"got {noun} at {at}",
      )
  root = paths["train"]
  if path and not table and os.path.isdir(root):
    paths = folders_inside(root) or paths
  return {name: _place(at, table, labels) for name, at in paths.items()}


def is_table(path: pathlib.Path) -> bool:
  """Returns whether the name of a file is that of a table."""
  return path.name.lower().removesuffix(".gz").endswith(TABLE_SUFFIXES)


def _table(labels: str) -> pathlib.Path:
  table = pathlib.Path(os.path.expanduser(labels))
  if os.path.isfile(table):
    return table
  raise UserError(
    "expected labels to be a table of the names and labels of images",
    f"got no file at {labels!r}",
    'use labels="" if the folders are the classes',
  )


def _place(
  path: pathlib.Path, table: pathlib.Path | None, labels: str
) -> Place:
  if not os.path.isdir(path):
    return Place(path.parent, path)
  if labels == "auto":
    found = [path / name for name in METADATA if os.path.isfile(path / name)]
    table = found[0] if found else None
  return Place(path, table)


def folders_inside(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """Returns the folders of the splits in `folder`, empty without any.

  Synonyms and capitals count only if all folders are splits, since a class may
  have the name "Training".
  """
  folders = [entry.name for entry in entries(folder) if os.path.isdir(entry)]
  folders = [name for name in folders if not is_hidden(name)]
  names = folders
  if not all(name.lower() in SPLIT_NAMES for name in folders):
    names = [name for name in folders if name in USUAL_SPLITS]
  inside = {SPLIT_NAMES[name.lower()]: folder / name for name in names}
  if inside and "train" not in inside:
    raise UserError(
      f"expected a folder 'train' in {folder}",
      f"got {', '.join(names)}",
      "name the folder of the training files 'train'",
    )
  if len(inside) < len(names):
    raise UserError(
      f"expected one folder for each split in {folder}",
      f"got {', '.join(names)}",
      "move the files of a split into one folder",
    )
  return inside


def absolute(places: Mapping[str, Place]) -> dict[str, list[str]]:
  """Returns the absolute paths of the places as JSON data."""
  return {
    name: [os.path.abspath(at) for at in place if at]
    for name, place in places.items()
  }

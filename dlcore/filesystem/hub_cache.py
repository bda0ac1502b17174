"""Links in the cache of the Hugging Face hub, which alone are followed."""

import os
import re
from pathlib import Path

CACHE_FOLDER = re.compile(r"models--[\w.-]+", flags=re.ASCII)
"""Folder names of models in the hub's cache."""


def blobs(folder: Path) -> Path | None:
  """Returns the folder that links in a folder of the hub's cache point to.

  That is `models--ORG--NAME/blobs` for `models--ORG--NAME/snapshots/REVISION`.
  Other folders have None: their links are not followed.
  """
  folder = folder.resolve() if os.path.isdir(folder) else folder
  repository = folder.parent.parent
  if folder.parent.name != "snapshots":
    return None
  if not CACHE_FOLDER.fullmatch(repository.name):
    return None
  root = repository / "blobs"
  # If it were a link, every file below its target would be readable.
  return root if root.is_dir() and not root.is_symlink() else None


def followed(path: Path, root: Path | None) -> Path:
  """Returns the target of a link if it lies in `root`, or else `path`."""
  if root:
    target = Path(os.path.realpath(path))
    if target.is_relative_to(os.path.realpath(root)):
      return target
  return path

"""Checks of the metadata of prepared data sets, which TFDS reads unbounded."""

import pathlib

from dlcore.errors import UserError
from dlcore.filesystem.json_file import open_plain, parse_json

MAX_BYTES = 4 << 20
"""The size of a metadata file. The labels of ImageNet-21k take 0.3 MB."""

PATTERNS = ("*.json", "*.labels.txt")


def check_metadata(folder: pathlib.Path) -> None:
  """Checks the size and the syntax of all metadata files in a folder.

  Args:
    folder: of all configs and versions of a data set; it may be missing.

  Raises:
    UserError: a file is too large, not a plain file or not valid.
  """
  for pattern in PATTERNS:
    for path in sorted(folder.rglob(pattern)):
      try:
        _check_file(path)
      except (OSError, ValueError) as error:
        raise damaged(path, str(error).splitlines()[0]) from error


def damaged(path: pathlib.Path, reason: str) -> UserError:
  """Returns the error for prepared metadata that cannot be read."""
  return UserError(
    f"expected the metadata of a prepared data set at {path}",
    f"got: {reason}",
    "delete the folder of this version to prepare it again",
  )


def _check_file(path: pathlib.Path) -> None:
  with open_plain(path) as file:
    content = file.read(MAX_BYTES + 1)
  if len(content) > MAX_BYTES:
    raise ValueError(f"the file is larger than {MAX_BYTES:,} bytes")
  if path.suffix == ".json":
    parse_json(content)
  else:
    content.decode("utf-8")

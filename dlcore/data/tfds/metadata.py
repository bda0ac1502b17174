"""Checks of the metadata of prepared data sets, which TFDS reads unbounded."""

import os
import pathlib
import sys
from typing import Any

from dlcore.errors import UserError
from dlcore.filesystem.json_file import open_plain, parse_json

MAX_BYTES = 4 << 20
"""The size of a metadata file. The labels of ImageNet-21k take 0.3 MB."""

FEATURES = "features.json"
CLASS_NAMES = ("pythonClassName", "python_class_name", "type")
"""Entries of `FEATURES` with a class, whose module TFDS imports."""

PATTERNS = ("*.json", "*.labels.txt")


def check_metadata(folder: pathlib.Path) -> None:
  """Checks the size and the syntax of all metadata files in a folder.

  Records must be plain files too, since opening a pipe would wait.

  Args:
    folder: of all configs and versions of a data set; it may be missing.

  Raises:
    UserError: a file is too large, not a plain file or not valid, or names a
      class of a module that is neither of TFDS nor imported already.
  """
  for path in folder.rglob("*"):
    is_plain = os.path.isfile(path) or os.path.isdir(path)
    if os.path.exists(path) and not is_plain:
      raise damaged(path, "it is not a plain file")
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
    parsed = parse_json(content)
    if path.name == FEATURES:
      _check_classes(parsed)
  else:
    content.decode("utf-8")


def _check_classes(content: dict[str, Any]) -> None:
  """Checks that no class makes TFDS import, and so execute, a module."""
  values: list[Any] = [content]
  while values:
    value = values.pop()
    if isinstance(value, list):
      values += value
    elif isinstance(value, dict):
      values += value.values()
      for key in CLASS_NAMES:
        name = value.get(key)
        module = name.rpartition(".")[0] if isinstance(name, str) else ""
        own = module.startswith("tensorflow_datasets.") or module in sys.modules
        if module and not own:
          raise ValueError(f"a class of another module: {name!r:.80}")

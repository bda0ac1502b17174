"""The license of weights, as their folder states it."""

import os
import re
from pathlib import Path
from typing import Any

import yaml

from dlcore.errors import UserError
from dlcore.transfer.io import files, sources

CARD = "README.md"
LICENSE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md")
MAX_BYTES = 1 << 20
MAX_FRONT_MATTER = 1 << 16
IDENTIFIER = re.compile(r"[A-Za-z0-9][\w.+-]{0,60}", re.ASCII)
UNKNOWN = ("unknown", "unlicensed")

TITLES = {
  "Apache License Version 2.0": "apache-2.0",
  "MIT License": "mit",
  "BSD 3-Clause License": "bsd-3-clause",
  "GNU GENERAL PUBLIC LICENSE Version 3": "gpl-3.0",
}
"""Beginnings of license files whose license is not in doubt, and the
identifiers of the Hugging Face hub."""


def read_license(source: str) -> str:
  """Returns the identifier of the license in a folder of weights.

  It is read from the front matter of README.md, or from a LICENSE file that
  begins with a title of `TITLES`. Other files are ignored, and so is the folder
  of a single file of weights, whose README.md may describe something else.

  Args:
    source: see `transfer.load_pretrained`; not a run.

  Returns:
    An identifier such as "apache-2.0", empty if it is not known.
  """
  try:
    folder, link_root = sources.locate(source)
  except UserError:
    return ""
  if not os.path.isdir(folder):
    return ""
  if stated := _stated(_read(folder / CARD, link_root)):
    return stated
  for name in LICENSE_FILES:
    text = " ".join(_read(folder / name, link_root).split())
    for title, identifier in TITLES.items():
      if text.lower().startswith(title.lower()):
        return identifier
  return ""


def checked(value: Any) -> str:
  """Returns an identifier of a license, empty for other values."""
  if not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
    return ""
  identifier = value.lower()
  return "" if identifier in UNKNOWN else identifier


def _stated(text: str) -> str:
  """Returns the license in the front matter of a model card."""
  lines = text.lstrip("\N{BYTE ORDER MARK}").splitlines()
  if not lines or lines[0].rstrip() != "---" or "---" not in lines[1:]:
    return ""
  front = "\n".join(lines[1 : lines.index("---", 1)])[:MAX_FRONT_MATTER]
  try:
    # The base loader makes strings alone: `license: no` is the string "no".
    entries = yaml.load(front, Loader=yaml.BaseLoader)
  except (yaml.YAMLError, ValueError, RecursionError):
    return ""
  value = entries.get("license") if isinstance(entries, dict) else None
  if isinstance(value, list) and len(value) == 1:
    [value] = value
  return checked(value)


def _read(path: Path, link_root: Path | None) -> str:
  """Returns the beginning of a text file, empty if it cannot be read."""
  try:
    with files.open_plain(path, link_root) as file:
      return file.read(MAX_BYTES).decode("utf-8", "replace")
  except (UserError, OSError):
    return ""

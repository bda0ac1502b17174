"""Manifest of a checkpoint: its step number and the sha256 of its files."""

import hashlib
import json
import os
from pathlib import Path

from dlcore.filesystem.atomic import write_atomic
from dlcore.filesystem.json_file import read_json

NAME = "sha256.json"
"""File of the manifest, in the folder of the step."""

MAX_BYTES = 1 << 26
"""Size above which a manifest is not read."""


class DamagedCheckpoint(Exception):
  """A checkpoint that must not be read; the message is the reason."""


def write(step_folder: Path) -> None:
  """Writes the manifest of a committed step, whose number is the folder's."""
  files = _checksums(step_folder)
  content = {"step": int(step_folder.name), "files": files}
  text = json.dumps(content, indent=1, sort_keys=True)
  write_atomic(step_folder / NAME, text.encode(), fsync=True)


def verify(step_folder: Path) -> None:
  """Compares every file of a step with the manifest.

  Raises:
    DamagedCheckpoint: a file is missing, changed, added, a link or larger than
      the memory, or the folder has the number of another step.
  """
  try:
    content = read_json(step_folder / NAME, max_bytes=MAX_BYTES)
    number, expected = content["step"], dict(content["files"])
  except (OSError, ValueError, TypeError, LookupError) as error:
    raise DamagedCheckpoint(f"its manifest is not readable: {error}") from error
  if number != int(step_folder.name):
    raise DamagedCheckpoint(f"its manifest belongs to step {number}")
  try:
    actual = _checksums(step_folder)
  except OSError as error:
    raise DamagedCheckpoint(f"it is not readable: {error}") from error
  for name in sorted(expected.keys() | actual.keys()):
    if name not in actual:
      raise DamagedCheckpoint(f"{name} is missing")
    if name not in expected:
      raise DamagedCheckpoint(f"{name} is not in its manifest")
    if actual[name] != expected[name]:
      raise DamagedCheckpoint(f"the sha256 of {name} differs from its manifest")


def physical_memory() -> int:
  """Returns the physical memory in bytes."""
  return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _checksums(step_folder: Path) -> dict[str, str]:
  if step_folder.is_symlink():
    raise DamagedCheckpoint("it is a link")
  checksums = {}
  for parent, folders, files in os.walk(step_folder):
    for name in [*folders, *files]:
      path = Path(parent, name)
      relative = path.relative_to(step_folder).as_posix()
      if path.is_symlink() or not (path.is_file() or path.is_dir()):
        raise DamagedCheckpoint(f"{relative} is a link or not a plain file")
      if name in files and not _is_manifest(name):
        size = path.stat().st_size
        if size > physical_memory():  # A sparse file takes hours, and no space.
          raise DamagedCheckpoint(f"{relative} has {size:,} bytes")
        with path.open("rb") as file:
          digest = hashlib.file_digest(file, "sha256").hexdigest()
        checksums[relative] = digest
  return checksums


def _is_manifest(name: str) -> bool:
  """Returns whether a file is the manifest or a killed attempt to write it."""
  return name == NAME or (NAME in name and name.endswith(".tmp"))

"""The number of a checkpoint's step and the sha256 sums of its files."""

import hashlib
import json
import os
from pathlib import Path

NAME = "sha256.json"
"""The file of the sums, in the folder of the step, which bears its number."""


class Damaged(Exception):
  """A checkpoint that must not be read, and why."""


def write(step: Path) -> None:
  """Writes the sums of all files of a committed step, atomically."""
  temporary = step / (NAME + ".tmp")
  content = {"step": int(step.name), "files": _sums(step)}
  with temporary.open("w") as file:
    json.dump(content, file, indent=1, sort_keys=True)
    file.flush()
    os.fsync(file.fileno())
  temporary.replace(step / NAME)


def verify(step: Path) -> None:
  """Compares every file of a step with the manifest.

  Raises:
    Damaged: a file is missing, changed, left over or a link, or the folder
      bears the number of another step.
  """
  try:
    if (step / NAME).is_symlink() or not (step / NAME).is_file():
      raise ValueError("it is no plain file")
    content = json.loads((step / NAME).read_text())
    number, wanted = content["step"], dict(content["files"])
  except (OSError, ValueError, TypeError, LookupError) as error:
    raise Damaged(f"its manifest cannot be read ({error})") from error
  if number != int(step.name):
    raise Damaged(f"it is the step {number} under another number")
  try:
    sums = _sums(step)
  except OSError as error:
    raise Damaged(f"it cannot be read ({error})") from error
  for name in sorted(wanted.keys() | sums.keys()):
    if name not in sums:
      raise Damaged(f"{name} is missing")
    if name not in wanted:
      raise Damaged(f"{name} does not belong to it")
    if sums[name] != wanted[name]:
      raise Damaged(f"the sha256 sum of {name} differs from its manifest")


def _sums(step: Path) -> dict[str, str]:
  if step.is_symlink():
    raise Damaged("it is a link")
  sums = {}
  for parent, folders, files in os.walk(step):
    for name in [*folders, *files]:
      path = Path(parent, name)
      if path.is_symlink() or not (path.is_file() or path.is_dir()):
        raise Damaged(f"{path.relative_to(step)} is a link")
    for name in files:
      path = Path(parent, name)
      if not name.startswith(NAME):
        with path.open("rb") as file:
          digest = hashlib.file_digest(file, "sha256").hexdigest()
        sums[path.relative_to(step).as_posix()] = digest
  return sums

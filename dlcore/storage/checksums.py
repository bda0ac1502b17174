"""Checksums (sha256) of the files of a run other than its checkpoints.

`sha256.json` lists for each file its allowed checksums, the newest last. The
next checksum is added before the file is replaced, so a run that is killed in
between finds the old file valid. The metric log grows: for it, the file lists
its size and checksum at the last saves, its marks.
"""

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from dlcore.filesystem.atomic import (
  check_no_folder,
  make_folder,
  write_atomic,
)
from dlcore.filesystem.json_file import read_json

NAME = "sha256.json"
LOG = "metrics.jsonl"
MAX_BYTES = 1 << 22
"""Size above which `sha256.json` is not read."""

MAX_FILE_BYTES = 1 << 32
"""Size above which a file is not compared but refused."""

MAX_DIGITS = 20
"""Digits of a step; Python does not convert strings of thousands."""

MAX_MARKS = 4
"""Number of saves for which a mark of the log is kept."""

UPDATE = threading.Lock()
"""Held from reading `sha256.json` to replacing it: checkpoints are written in a
thread of their own."""

logger = logging.getLogger("dlcore")


def write_file(
  workdir: Path, name: str, content: bytes | Callable[[IO[bytes]], Any]
) -> None:
  """Replaces a file of the run atomically and records its checksum.

  Args:
    workdir: the run folder.
    name: path of the file within it, such as `"assets/data.json"`.
    content: see `write_atomic`.

  Raises:
    UserError: the parent folder is a link or a file, or the file a folder.
    OSError: see `write_atomic`.
  """
  path = workdir / name
  if path.parent != workdir:
    make_folder(path.parent)
  check_no_folder(path)
  write_atomic(path, content, before=lambda new: _allow(workdir, name, new))


def checked_path(workdir: Path, name: str) -> Path:
  """Returns the path of a file of the run after comparing its checksum.

  Raises:
    FileNotFoundError: the file is missing.
    ValueError: it is a link, below a link, not a plain file, or its content
      differs from the recorded checksum. The message is the reason alone.
  """
  path = workdir / name
  actual, real = os.path.realpath(path), os.path.realpath(workdir)
  if path.is_symlink() or actual != os.path.join(real, name):
    raise ValueError("it is a link")
  if not path.exists():
    raise FileNotFoundError(2, os.strerror(2), str(path))
  if not path.is_file():
    raise ValueError("it is not a plain file")
  if not is_intact(workdir, name):
    raise ValueError(f"its content differs from its checksum in {NAME}")
  return path


def is_intact(workdir: Path, name: str) -> bool:
  """Returns whether a file matches its recorded checksum, if there is one."""
  recorded = _read(workdir).get(name)
  if name == LOG:
    newest = max(map(int, _marks({LOG: recorded})), default=None)
    return newest is None or is_log_intact(workdir, newest)
  if not isinstance(recorded, list):
    return True
  path = workdir / name
  fits = path.is_file() and path.stat().st_size <= MAX_FILE_BYTES
  return fits and _digest(path) in recorded


def add_mark(workdir: Path, step: int, size: int, digest: str) -> None:
  """Records the size in bytes and the sha256 of the log at a save of `step`."""
  with UPDATE:
    checksums = _read(workdir)
    marks = _marks(checksums)
    earlier = sorted(int(key) for key in marks if int(key) < step)
    kept = {str(key): marks[str(key)] for key in earlier[1 - MAX_MARKS :]}
    _write(workdir, {**checksums, LOG: {**kept, str(step): [size, digest]}})


def remove_marks(workdir: Path, step: int) -> None:
  """Removes the marks of the log that are later than `step`."""
  with UPDATE:
    checksums = _read(workdir)
    marks = _marks(checksums)
    kept = {key: mark for key, mark in marks.items() if int(key) <= step}
    if len(kept) < len(marks):
      _write(workdir, {**checksums, LOG: kept})


def is_log_intact(workdir: Path, step: int) -> bool:
  """Returns whether the log matches its mark of `step`, if there is one."""
  mark = _marks(_read(workdir)).get(str(step))
  if mark is None:
    return True
  path = workdir / LOG
  size, digest = mark
  if not path.is_file():
    return False
  if not size <= path.stat().st_size <= MAX_FILE_BYTES:
    return False
  actual = hashlib.sha256()
  with path.open("rb") as file:
    while size > 0 and (piece := file.read(min(size, 1 << 20))):
      actual.update(piece)
      size -= len(piece)
  return actual.hexdigest() == digest


def _allow(workdir: Path, name: str, new: Path) -> None:
  """Adds the checksum of `new`, which is about to replace the file `name`."""
  with UPDATE:
    checksums = _read(workdir)
    path = workdir / name
    recorded = checksums.get(name)
    if not isinstance(recorded, list):  # Not yet recorded, or malformed.
      recorded = [_digest(path)] if path.is_file() else []
    checksums[name] = [*recorded[-1:], _digest(new)]
    _write(workdir, checksums)


def _marks(checksums: dict[str, Any]) -> dict[str, tuple[int, str]]:
  """Returns the well-formed marks of the log: size and sha256 by step."""
  marks = checksums.get(LOG)
  return {
    step: (mark[0], mark[1])
    for step, mark in (marks if isinstance(marks, dict) else {}).items()
    if step.isdecimal()
    and len(step) <= MAX_DIGITS
    and isinstance(mark, list)
    and len(mark) == 2
    and type(mark[0]) is int
    and mark[0] >= 0
  }


def _read(workdir: Path) -> dict[str, Any]:
  """Returns the content of `sha256.json`, empty if it is missing or invalid."""
  path = workdir / NAME
  try:
    return read_json(path, max_bytes=MAX_BYTES)
  except FileNotFoundError:
    return {}
  except (OSError, ValueError) as error:
    logger.warning("%s is skipped and nothing is compared: %s", path, error)
    return {}


def _write(workdir: Path, checksums: dict[str, Any]) -> None:
  text = json.dumps(checksums, indent=1, sort_keys=True)
  check_no_folder(workdir / NAME)
  write_atomic(workdir / NAME, text.encode())


def _digest(path: Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()

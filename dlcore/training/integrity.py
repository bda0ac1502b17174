"""The sha256 sums of a run's files beside its checkpoints.

`sha256.json` holds for each file the last sums that it may have, the newest
last: the next one is added before the file is replaced, so that a run that is
killed in between finds the old file in order. Of the log, which grows, it
holds how long it was and its sum at the last saves.
"""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

NAME = "sha256.json"
LOG = "metrics.jsonl"
LARGEST = 1 << 22
"""Bytes of `sha256.json`."""

MARKS = 4
"""Of how many saves the log's sum is kept."""

log = logging.getLogger("dlcore")


def expect(folder: Path, name: str, new: Path) -> None:
  """Notes that the file `name` is about to be replaced by the file `new`."""
  sums = _read(folder)
  path = folder / name
  known = sums.get(name)
  if not isinstance(known, list):  # Written before there were sums.
    known = [_digest(path)] if path.is_file() else []
  sums[name] = [*known[-1:], _digest(new)]
  _write(folder, sums)


def intact(folder: Path, name: str) -> bool:
  """Tells whether a file is as the run wrote it, as far as that is known."""
  known = _read(folder).get(name)
  if name == LOG:
    marks = known if isinstance(known, dict) else {}
    newest = max(map(int, marks), default=None)
    return newest is None or log_intact(folder, newest)
  path = folder / name
  if not isinstance(known, list):
    return True
  return path.is_file() and _digest(path) in known


def mark_log(folder: Path, step: int, size: int, digest: str) -> None:
  """Notes that up to `step` the log has `size` bytes with that sum."""
  sums = _read(folder)
  marks = _marks(sums)
  marks = {key: mark for key, mark in marks.items() if int(key) < step}
  marks = dict(list(marks.items())[1 - MARKS :])
  sums[LOG] = {**marks, str(step): [size, digest]}
  _write(folder, sums)


def cut_log(folder: Path, step: int) -> None:
  """Forgets the sums of a log that was cut back to `step`."""
  sums = _read(folder)
  marks = _marks(sums)
  kept = {key: mark for key, mark in marks.items() if int(key) <= step}
  if len(kept) < len(marks):
    _write(folder, {**sums, LOG: kept})


def log_intact(folder: Path, step: int) -> bool:
  """Tells whether the log is as it was at the save of `step`, if known."""
  mark = _marks(_read(folder)).get(str(step))
  if mark is None:
    return True
  path = folder / LOG
  size, digest = mark
  if not path.is_file() or path.stat().st_size < size:
    return False
  with path.open("rb") as file:
    return hashlib.sha256(file.read(size)).hexdigest() == digest


def _marks(sums: dict[str, Any]) -> dict[str, tuple[int, str]]:
  """Returns the marks of the log that are such, by step."""
  found = sums.get(LOG)
  return {
    key: (mark[0], mark[1])
    for key, mark in (found.items() if isinstance(found, dict) else ())
    if key.isdecimal()
    and isinstance(mark, list)
    and len(mark) == 2
    and type(mark[0]) is int
    and mark[0] >= 0
  }


def _read(folder: Path) -> dict[str, Any]:
  """Returns what `sha256.json` says; nothing where there is none."""
  path = folder / NAME
  if not path.exists() and not path.is_symlink():
    return {}
  try:
    if path.is_symlink() or not path.is_file():
      raise ValueError("it is no plain file")
    if path.stat().st_size > LARGEST:
      raise ValueError("it is too large")
    content = json.loads(path.read_text("utf-8"))
    if not isinstance(content, dict):
      raise ValueError("it is no JSON object")
  except (OSError, ValueError, RecursionError) as error:
    log.warning("%s is passed over, nothing is checked: %s", path, error)
    return {}
  return content


def _write(folder: Path, sums: dict[str, Any]) -> None:
  temporary = folder / f"{NAME}.tmp"
  temporary.unlink(missing_ok=True)  # It might be a link to elsewhere.
  with temporary.open("x") as file:
    json.dump(sums, file, indent=1, sort_keys=True)
  temporary.replace(folder / NAME)


def _digest(path: Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()

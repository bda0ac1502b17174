"""Decoded data sets, kept in one folder so that the next run starts at once."""

import concurrent.futures
import hashlib
import json
import logging
import math
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dlcore.data.source import Source, Splits, from_arrays
from dlcore.errors import UserError

VERSION = 1
"""Of the decoders: raise it when the same files give other arrays."""

logger = logging.getLogger("dlcore")


def splits(
  build: Callable[[], Splits],
  *,
  name: str,
  key: Mapping[str, Any],
  files: Callable[[], Iterable[pathlib.Path]],
  folder: str = "",
  most: float = math.inf,
) -> Splits:
  """Returns `build()`, or what an earlier call kept of it.

  An entry holds for as long as every file that it was made from has the same
  path, size and time; when one changed while it was made, it is not kept. It
  is written in a folder of its own that is renamed when complete; what is
  damaged is built again; what cannot be written is not kept.

  Args:
    build: makes the splits; those that are not in memory are not kept.
    name: of the data set, the first part of the entry's name.
    key: JSON data, every setting that the result depends on, and the paths
      that the user gave: of entries with one key the newest alone is kept.
    files: lists the files that the result is made from, which `build` may make;
      when there are none, nothing is looked for.
    folder: of the cache; by default `$DLCORE_CACHE/data` or
      `~/.cache/dlcore/data`.
    most: bytes; an entry with larger arrays is left alone.
  """
  root = _root(folder)
  source = f"{name}-{_digest({'version': VERSION, **key})}"
  before = _stamp(files())
  if before:
    kept = _read(root / f"{source}-{_digest(before)}")
    if kept and _size(kept) <= most:
      return kept
  built = build()
  after = _stamp(files())
  unchanged = bool(after) and before in ([], after)
  if unchanged and all(part.arrays for part in built if part):
    try:
      _write(root, source, _digest(after), built)
    except OSError as error:
      logger.warning("the decoded data is not kept in %s: %s", root, error)
  return built


def per_file(
  function: Callable[[pathlib.Path], Any],
  files: Sequence[pathlib.Path],
  *,
  name: str,
  key: Mapping[str, Any],
  folder: str = "",
) -> list[Any]:
  """Returns `function(file)` of every file, or what an earlier call kept of it.

  A result holds for as long as the file has the same path, size and time.

  Args:
    function: returns JSON data, or None for what is not to be kept; it is
      called in threads.
    files: in the order of the results.
    name: of the function.
    key: JSON data that the results depend on or that tells sets apart.
    folder: see `splits`.
  """
  root = _root(folder)
  path = root / f"{name}-{_digest({'version': VERSION, **key})}.json"
  kept = _read_records(path)

  def one(file: pathlib.Path) -> tuple[str, list[Any], bool]:
    at, before = os.path.abspath(file), _state(file)
    if at in kept and kept[at][:2] == before:
      return at, kept[at], True
    value = function(file)
    keep = value is not None and before == _state(file)
    return at, [*before, value], keep

  results = []
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
    # In pieces: a waiting call takes about a kilobyte.
    for start in range(0, len(files), 4096):
      results += threads.map(one, files[start : start + 4096])
  records = {at: record for at, record, keep in results if keep}
  if records != kept:
    try:
      _write_records(path, records)
    except OSError as error:
      logger.warning("what was found is not kept in %s: %s", root, error)
  return [value for _, (*_, value), _ in results]


def _size(kept: Splits) -> int:
  parts = [part.arrays for part in kept if part and part.arrays]
  return sum(array.nbytes for arrays in parts for array in arrays.values())


def _root(folder: str) -> pathlib.Path:
  if folder:
    return pathlib.Path(folder).expanduser()
  home = os.environ.get("DLCORE_CACHE") or "~/.cache/dlcore"
  return pathlib.Path(home).expanduser() / "data"


def _stamp(files: Iterable[pathlib.Path]) -> list[Any]:
  """Returns path, size and time of every file, in the order of the paths.

  Where one is missing there is nothing to look for: `build` will tell.
  """
  try:
    states = [(path, path.stat()) for path in sorted(files)]
  except FileNotFoundError:
    return []
  return [
    (os.path.abspath(path), state.st_size, state.st_mtime_ns)
    for path, state in states
  ]


def _state(file: pathlib.Path) -> list[int]:
  """Returns size and time of a file; `[-1, -1]` where there is none."""
  try:
    state = file.stat()
  except OSError:
    return [-1, -1]
  return [state.st_size, state.st_mtime_ns]


def _digest(value: Any) -> str:
  text = json.dumps(value, sort_keys=True)
  return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _read(entry: pathlib.Path) -> Splits | None:
  """Returns what is kept in an entry, or None where it is absent or damaged."""
  if not entry.is_dir():
    return None
  try:
    described = json.loads((entry / "splits.json").read_text("utf-8"))
    return Splits(
      **{
        name: _read_source(entry / name, about)
        for name, about in described.items()
      }
    )
  except (OSError, ValueError, KeyError, TypeError, MemoryError, UserError):
    logger.warning("the cache entry %s is damaged and is made again", entry)
    return None


def _read_source(folder: pathlib.Path, about: Mapping[str, Any]) -> Source:
  arrays = {
    path.stem: np.load(path, allow_pickle=False)
    for path in sorted(folder.glob("*.npy"))
  }
  source = from_arrays(arrays, about)
  if source.about["sha256"] != about["sha256"]:
    raise ValueError(f"{folder} has another sum than when it was written")
  return source


def _write(root: pathlib.Path, source: str, stamp: str, built: Splits) -> None:
  root.mkdir(parents=True, exist_ok=True)
  unfinished = pathlib.Path(tempfile.mkdtemp(prefix=".unfinished-", dir=root))
  try:
    described = {}
    for name, part in built._asdict().items():
      if part:
        described[name] = dict(part.about)
        (unfinished / name).mkdir()
        for array_name, array in part.arrays.items():
          np.save(unfinished / name / f"{array_name}.npy", array)
    (unfinished / "splits.json").write_text(json.dumps(described), "utf-8")
    # Whatever else was kept of this source was made from files that have
    # changed since, or is damaged.
    for old in root.glob(f"{source}-*"):
      shutil.rmtree(old, ignore_errors=True)
    unfinished.rename(root / f"{source}-{stamp}")
  finally:
    shutil.rmtree(unfinished, ignore_errors=True)


def _read_records(path: pathlib.Path) -> dict[str, list[Any]]:
  """Returns `[size, time, result]` by path, empty where absent or damaged."""
  try:
    found = json.loads(path.read_text("utf-8"))
    if found["sum"] == _digest(found["records"]):
      return found["records"]
  except FileNotFoundError:
    return {}
  except (OSError, ValueError, KeyError, TypeError):
    pass
  logger.warning("the cache entry %s is damaged and is made again", path)
  return {}


def _write_records(
  path: pathlib.Path, records: Mapping[str, list[Any]]
) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  unfinished = path.with_name(f".unfinished-{os.getpid()}-{path.name}")
  text = json.dumps({"sum": _digest(records), "records": records})
  try:
    unfinished.write_text(text, "utf-8")
    unfinished.rename(path)
  finally:
    unfinished.unlink(missing_ok=True)

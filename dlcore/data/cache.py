"""A cache of decoded data sets on disk, so that the next run starts at once."""

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

from dlcore.data.array_source import from_arrays
from dlcore.data.info import DataInfo
from dlcore.data.serialization import info_from_json, info_to_json
from dlcore.data.source import Source, Splits
from dlcore.data.threads import map_in_threads
from dlcore.filesystem import read_json, write_atomic

VERSION = 3
"""Version of the decoders, raised if the same files give other arrays or
checksums."""

LENGTHS = "lengths of sequences"
"""Name of the file of `Source.lengths`, which no array has."""

NAMES = "names of examples"
"""Likewise of `Source.names`."""

MAX_BYTES = 1 << 30
"""Maximum size of a JSON file: records of ten million files."""

logger = logging.getLogger("dlcore")


def splits(
  build: Callable[[], Splits],
  *,
  name: str,
  key: Mapping[str, Any],
  files: Callable[[], Iterable[pathlib.Path]],
  folder: str = "",
  max_bytes: float = math.inf,
) -> Splits:
  """Returns `build()` or its cached result.

  An entry is valid while every source file has the same path, size and
  modification time. If a file changes during `build`, the result is not
  cached. An entry is written to a temporary folder that is renamed when it is
  complete. A damaged entry is rebuilt; a failure to write is only logged.

  Args:
    build: creates the splits; streamed ones are not cached.
    name: of the data set, the first part of the entry's name.
    key: JSON data, every setting and path that the result depends on. A new
      entry replaces older ones with the same key.
    files: returns the source files, which `build` may create. Without files
      the cache is not searched.
    folder: of the cache; by default `$DLCORE_CACHE/data` or
      `~/.cache/dlcore/data`.
    max_bytes: an entry with larger arrays is ignored.
  """
  root = cache_root(folder)
  source = f"{name}-{_digest({'version': VERSION, **key})}"
  before = _stamps(files())
  if before:
    cached = _read(root / f"{source}-{_digest(before)}")
    if cached and _num_bytes(cached) <= max_bytes:
      return cached
  built = build()
  after = _stamps(files())
  unchanged = bool(after) and before in ([], after)
  if unchanged and all(part.arrays for part in built if part):
    try:
      _write(root, source, _digest(after), built)
    except (OSError, ValueError) as error:  # ValueError for a null byte.
      logger.warning("cannot cache the decoded data in %s: %s", root, error)
  return built


def per_file(
  function: Callable[[pathlib.Path], Any],
  files: Sequence[pathlib.Path],
  *,
  name: str,
  key: Mapping[str, Any],
  folder: str = "",
) -> list[Any]:
  """Returns `function(file)` or its cached result for every file.

  A result is valid while the file has the same path, size and modification
  time.

  Args:
    function: returns JSON data, or None for a result that is not cached. It is
      called in threads.
    files: in the order of the results.
    name: of the function.
    key: JSON data that the results depend on or that identifies the data set.
    folder: see `splits`.
  """
  root = cache_root(folder)
  path = root / f"{name}-{_digest({'version': VERSION, **key})}.json"
  cached = _read_records(path)

  def one(file: pathlib.Path) -> tuple[str, list[Any], bool]:
    at, before = os.path.abspath(file), _stamp(file)
    if at in cached and cached[at][:2] == before:
      return at, cached[at], True
    value = function(file)
    valid = value is not None and before == _stamp(file)
    return at, [*before, value], valid

  results = map_in_threads(one, files)
  records = {at: record for at, record, valid in results if valid}
  if records != cached:
    content = {"checksum": _digest(records), "records": records}
    try:
      root.mkdir(parents=True, exist_ok=True)
      write_atomic(path, json.dumps(content).encode())
    except (OSError, ValueError) as error:  # ValueError for a null byte.
      logger.warning("cannot cache results in %s: %s", root, error)
  return [value for _, (*_, value), _ in results]


def _num_bytes(cached: Splits) -> int:
  parts = [part.arrays for part in cached if part and part.arrays]
  return sum(array.nbytes for arrays in parts for array in arrays.values())


def cache_root(folder: str) -> pathlib.Path:
  """Returns the folder of the cache; see `splits` for the default."""
  if folder:
    return pathlib.Path(os.path.expanduser(folder))
  home = os.environ.get("DLCORE_CACHE") or "~/.cache/dlcore"
  return pathlib.Path(os.path.expanduser(home), "data")


def _stamps(files: Iterable[pathlib.Path]) -> list[Any]:
  """Returns path, size and modification time of the files, sorted by path.

  The list is empty if a file is missing, which `build` reports.
  """
  stamps = [(os.path.abspath(file), *_stamp(file)) for file in sorted(files)]
  return [] if any(size < 0 for _, size, _ in stamps) else stamps


def _stamp(file: pathlib.Path) -> list[int]:
  """Returns size and modification time of a file, `[-1, -1]` without one."""
  try:
    state = file.stat()
  except (OSError, ValueError):  # ValueError for a null byte in the path.
    return [-1, -1]
  return [state.st_size, state.st_mtime_ns]


def _digest(value: Any) -> str:
  text = json.dumps(value, sort_keys=True)
  return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _read(entry: pathlib.Path) -> Splits | None:
  """Returns the splits of an entry, or None if it is absent or damaged."""
  if not os.path.isdir(entry):  # False for paths that no file system takes.
    return None
  try:
    described = read_json(entry / "splits.json", max_bytes=MAX_BYTES)
    return Splits(
      **{
        name: _read_source(entry / name, info_from_json(content))
        for name, content in described.items()
      }
    )
  except Exception:  # A damaged array makes NumPy raise nearly anything.
    logger.warning("the cache entry %s is damaged and is rebuilt", entry)
    return None


def _read_source(folder: pathlib.Path, info: DataInfo) -> Source:
  arrays = {
    path.stem: np.load(path, allow_pickle=False)
    for path in sorted(folder.glob("*.npy"))
  }
  lengths, names = arrays.pop(LENGTHS, None), arrays.pop(NAMES, None)
  source = from_arrays(
    arrays,
    name=info.name,
    schema=info.schema,
    notes=info.notes,
    lengths=lengths,
  )
  if source.info.sha256 != info.sha256:
    raise ValueError(f"{folder} has another checksum than when it was written")
  return source._replace(names=names)


def _write(root: pathlib.Path, source: str, stamp: str, built: Splits) -> None:
  root.mkdir(parents=True, exist_ok=True)
  unfinished = pathlib.Path(tempfile.mkdtemp(prefix=".unfinished-", dir=root))
  try:
    described = {}
    for name, part in built._asdict().items():
      if part:
        described[name] = info_to_json(part.info)
        (unfinished / name).mkdir()
        arrays = dict(part.arrays)
        others = {LENGTHS: part.lengths, NAMES: part.names}
        arrays |= {k: v for k, v in others.items() if v is not None}
        for array_name, array in arrays.items():
          np.save(unfinished / name / f"{array_name}.npy", array)
    (unfinished / "splits.json").write_text(json.dumps(described), "utf-8")
    # Other entries of this source are damaged, or their files have changed.
    for old in root.glob(f"{source}-*"):
      shutil.rmtree(old, ignore_errors=True)
    unfinished.rename(root / f"{source}-{stamp}")
  finally:
    shutil.rmtree(unfinished, ignore_errors=True)


def _read_records(path: pathlib.Path) -> dict[str, list[Any]]:
  """Returns `[size, time, result]` by path, empty if absent or damaged."""
  try:
    content = read_json(path, max_bytes=MAX_BYTES)
    if content["checksum"] == _digest(content["records"]):
      return content["records"]
  except FileNotFoundError:
    return {}
  except (OSError, ValueError, KeyError, TypeError):
    pass
  logger.warning("the cache entry %s is damaged and is rebuilt", path)
  return {}

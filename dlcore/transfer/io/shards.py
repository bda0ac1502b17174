"""Safetensors that are split over several files, with a JSON index."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlcore.errors import UserError
from dlcore.filesystem import quoted
from dlcore.transfer.io import files, safetensors

INDEX = "model.safetensors.index.json"
MAX_FILES = 4096


class Sharded(Mapping[str, np.ndarray]):
  """The arrays of several files by name."""

  def __init__(self, shards: Mapping[str, Mapping[str, np.ndarray]]):
    """Takes, for each array, the file that contains it."""
    self._shards = shards

  def __getitem__(self, name: str) -> np.ndarray:
    return self._shards[name][name]

  def __iter__(self) -> Iterator[str]:
    return iter(self._shards)

  def __len__(self) -> int:
    return len(self._shards)


def open_index(path: Path, link_root: Path | None) -> Sharded:
  """Opens the files of an index and compares their array names with it.

  Args:
    path: path of the index, in the folder of its files.
    link_root: see `files.open_plain`.

  Raises:
    UserError: the index refers to a file outside its folder, or contradicts
      the contents of its files.
  """
  weight_map: Any = files.read_json(path, link_root).get("weight_map")
  try:
    shards = {
      name: safetensors.File(path.parent / name, link_root)
      for name in sorted(file_names(weight_map))
    }
    _check_contents(weight_map, shards)
  except ValueError as error:
    raise UserError(
      f"expected the file of each array by name in {path}",
      f"got {error}",
      "download or write the folder again",
    ) from error
  return Sharded({name: shards[file] for name, file in weight_map.items()})


def file_names(weight_map: Any) -> set[str]:
  """Returns the names of the files in an index.

  Args:
    weight_map: entry of the index, file name by array name; not trusted.

  Raises:
    ValueError: it is not a nonempty object of plain file names.
  """
  if not isinstance(weight_map, dict) or not weight_map:
    raise ValueError(f"weight_map={quoted(weight_map)}")
  for name in weight_map.values():
    valid = isinstance(name, str) and name.endswith(".safetensors")
    if not valid or set(name) & set("/\\:\0") or name.startswith("."):
      raise ValueError(f"the file name {quoted(name)}")
  names = set(weight_map.values())
  if len(names) > MAX_FILES:
    raise ValueError(f"{len(names):,} files, more than {MAX_FILES:,}")
  return names


def _check_contents(
  weight_map: Mapping[str, str], shards: Mapping[str, safetensors.File]
) -> None:
  for name, file in weight_map.items():
    if name not in shards[file]:
      raise ValueError(f"{quoted(name)}, which is not in {file}")
  for file, shard in shards.items():
    for name in shard:
      if weight_map.get(name) != file:
        raise ValueError(
          f"an index without {quoted(name)}, which {file} contains"
        )

"""Where weights come from: files, folders, runs and names on the hub.

Whatever it is, it becomes a mapping from names to arrays, of which each is
read when it is asked for.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlcore import storage, trees
from dlcore.errors import UserError
from dlcore.transfer import files, hub, npz, pickles, safetensors

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"
ENDS = (".json", ".npz", ".safetensors", *pickles.ENDS)
"""Of the names of files, which are hardly names on the hub."""

SHARDS = 4096
"""The most files of one model."""

SCHEME = "hf:"
NEAR = re.compile(
  r"(?:hf:|https?://(?:huggingface\.co|hf\.co))/*([\w.@-]+(?:/[\w.@-]+)?)",
  flags=re.IGNORECASE,
)
"""Names on the hub in another writing: `HF:org/name`, or a page of the hub."""

CACHED = re.compile(r"models--[\w.-]+", flags=re.ASCII)
"""The folders of models in the hub's cache."""


class Source(NamedTuple):
  """Published weights."""

  arrays: Mapping[str, np.ndarray]
  """By published name."""

  config: dict[str, Any] | None
  """The config.json beside them, if there is one."""


def find(source: str | Path) -> Source:
  """Opens what `source` names; see `load_pretrained` for what that may be.

  Raises:
    UserError: there is no such thing, or it cannot be trusted.
  """
  path, within = locate(source)
  if within and path.is_dir():
    return _folder(path, within)
  if (path / "checkpoints").is_dir():
    return Source(_run(path), None)
  if path.is_dir():
    return _folder(path)
  if not path.exists() and not path.is_symlink():
    raise absent(
      source,
      "expected weights: a .safetensors or .npz file, a folder with "
      f"{WHOLE}, a run folder, or {SCHEME}ORG/NAME",
    )
  return Source(_file(path, within), None)


def locate(source: str | Path) -> tuple[Path, Path | None]:
  """Returns the path of a source, and the folder that its links may lead to.

  What is on the hub is fetched, and its files are links into the hub's cache.
  """
  text = str(source)
  if text.startswith(SCHEME):
    path = hub.download(text.removeprefix(SCHEME), lacking)
    return path, _blobs(path) or path  # Some caches have copies, not links.
  path = Path(os.path.expanduser(text))
  return path, _blobs(path if path.is_dir() else path.parent)


def absent(source: str | Path, expected: str) -> UserError:
  """Returns what is told where a source names nothing that is there."""
  text = str(source)
  if found := NEAR.match(text):
    todo = f"write {SCHEME}{found[1]}, if that is a name on the hub"
  elif "://" in text:
    todo = f"download it and name the file, or write {SCHEME}ORG/NAME"
  elif hub.NAME.fullmatch(text) and not text.endswith(ENDS):
    todo = f"check the path, or write {SCHEME}{text} for a name on the hub"
  else:
    todo = "check the path, from the folder in which the command runs"
  got = f"got {files.shown(text)}: no such file or folder"
  return UserError(expected, got, todo)


def _blobs(folder: Path) -> Path | None:
  """Returns where the files of a folder of the hub's cache are links to.

  Such a folder is `models--ORG--NAME/snapshots/REVISION`, and what its links
  may lead to `models--ORG--NAME/blobs`: None for all others, whose links are
  not followed.
  """
  folder = folder.resolve() if folder.is_dir() else folder
  place = folder.parent.parent
  if folder.parent.name != "snapshots" or not CACHED.fullmatch(place.name):
    return None
  blobs = place / "blobs"
  # A link in its place would open what it leads to.
  return blobs if blobs.is_dir() and not blobs.is_symlink() else None


def lacking(folder: Path) -> list[str]:
  """Returns the files of weights that a folder of the hub's cache lacks.

  As far as its names and its index tell, after a download that was broken off.
  """
  index = folder / INDEX
  names = {path.name for path in folder.glob("*.safetensors") if path.exists()}
  if WHOLE in names:
    return []
  if not index.exists():
    if not names:
      return [WHOLE]
    return [INDEX] if any(map(pickles.SHARD.search, names)) else []
  places = files.read_json(index, _blobs(folder)).get("weight_map")
  try:
    return sorted(_file_names(places) - names)
  except ValueError:  # Told when it is opened.
    return []


def _file(path: Path, within: Path | None) -> Mapping[str, np.ndarray]:
  if path.suffix == ".npz":
    return npz.File(path)
  with files.opened(path, within) as file:
    begin = file.read(2)
  # Zip files that are no .npz and what begins with pickle's own opcode.
  if path.suffix in pickles.ENDS or begin in (b"PK", b"\x80\x02"):
    raise pickles.refused([path], path.with_suffix(".safetensors"))
  return safetensors.File(path, within)


def _folder(folder: Path, within: Path | None = None) -> Source:
  """Opens a folder with config.json and safetensors, in one file or many."""
  config, index = folder / CONFIG, folder / INDEX
  about = files.read_json(config, within) if config.exists() else None
  # The whole file first, as transformers does: an index beside it is stale.
  if (folder / WHOLE).exists() or (folder / WHOLE).is_symlink():
    return Source(safetensors.File(folder / WHOLE, within), about)
  if index.exists() or index.is_symlink():
    return Source(_shards(folder, within), about)
  if found := pickles.within(folder):
    raise pickles.refused(found, folder / WHOLE)
  raise UserError(
    f"expected {WHOLE} or {INDEX} in {folder}",
    "got neither",
    "name the file itself, if it is called otherwise",
  )


class _Joined(Mapping[str, np.ndarray]):
  """The arrays of several files, each name in one of them."""

  def __init__(self, parts: Mapping[str, Mapping[str, np.ndarray]]):
    self._parts = parts

  def __getitem__(self, name: str) -> np.ndarray:
    return self._parts[name][name]

  def __iter__(self) -> Iterator[str]:
    return iter(self._parts)

  def __len__(self) -> int:
    return len(self._parts)


def _shards(folder: Path, within: Path | None) -> _Joined:
  """Opens the files of an index, and compares their names with it.

  Raises:
    UserError: the index names a file elsewhere, or not what the files hold.
  """
  path = folder / INDEX
  places = files.read_json(path, within).get("weight_map")
  try:
    names = _file_names(places)
    parts = {
      name: safetensors.File(folder / name, within) for name in sorted(names)
    }
    _compare(places, parts)
  except ValueError as error:
    raise UserError(
      f"expected the files of the weights by name in {path}",
      f"got {error}",
      "download or write the folder again",
    ) from error
  return _Joined({name: parts[place] for name, place in places.items()})


def _file_names(places: Any) -> set[str]:
  """Returns the names of the files, which are no paths to elsewhere.

  Raises:
    ValueError: they are, or are none at all.
  """
  if not isinstance(places, dict) or not places:
    raise ValueError(f"weight_map={files.shown(places)}")
  for name in places.values():
    plain = isinstance(name, str) and name.endswith(".safetensors")
    if not plain or set(name) & set("/\\:\0") or name.startswith("."):
      raise ValueError(f"the file name {files.shown(name)}")
  names = set(places.values())
  if len(names) > SHARDS:
    raise ValueError(f"{len(names):,} files, more than {SHARDS:,}")
  return names


def _compare(
  places: Mapping[str, str], parts: Mapping[str, safetensors.File]
) -> None:
  for name, place in places.items():
    if name not in parts[place]:
      raise ValueError(f"{files.shown(name)}, which is not in {place}")
  for place, part in parts.items():
    for name in part:
      if places.get(name) != place:
        raise ValueError(f"no word of {files.shown(name)}, which {place} has")


def _run(folder: Path) -> dict[str, np.ndarray]:
  """Returns the variables of a run's best checkpoint, by our paths."""
  checkpoints = folder / "checkpoints"
  if checkpoints.is_symlink():
    raise UserError(
      f"expected a folder at {checkpoints}",
      "got a link",
      "put the folder itself there, or name the run that has it",
    )
  step = storage.best_step(checkpoints)
  if step is None:
    raise UserError(
      f"expected a run with a finished checkpoint in {folder}",
      "got none",
      f"train first: experiments/train.py --workdir={folder}",
    )
  return trees.flatten(storage.read_variables(checkpoints, step))

"""Opens weights from a file, a folder, a run or the hub.

Each source becomes a mapping from names to arrays that are read on access.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlcore import storage, trees
from dlcore.errors import UserError
from dlcore.filesystem import hub_cache, quoted
from dlcore.transfer import stacked_blocks
from dlcore.transfer.io import files, hub, npz, pickles, safetensors, shards
from dlcore.transfer.io.shards import INDEX

SINGLE = "model.safetensors"
CONFIG = "config.json"
GENERATION = "generation_config.json"
SUFFIXES = (".json", ".npz", ".safetensors", *pickles.SUFFIXES)
"""Suffixes of file names, which are unlikely in names on the hub."""

ADAPTERS = "params/adapters/"
"""Start of the paths of `tasks.lora`, see `dlcore.tasks.lora.ADAPTERS`."""

SCHEME = "hf:"
HUB_ADDRESS = re.compile(
  r"(?:hf:|https?://(?:huggingface\.co|hf\.co))/*([\w.@-]+(?:/[\w.@-]+)?)",
  flags=re.IGNORECASE,
)
"""Other spellings of a name on the hub: `HF:org/name`, or the page's URL."""


class Weights(NamedTuple):
  """Weights of a source."""

  arrays: Mapping[str, np.ndarray]
  """By published name."""

  config: dict[str, Any] | None = None
  """Content of config.json in the same folder, or None."""

  generation: dict[str, Any] | None = None
  """Content of generation_config.json in the same folder."""

  @property
  def published(self) -> dict[str, dict[str, Any]]:
    """The content of both files by name, without missing ones."""
    contents = {CONFIG: self.config, GENERATION: self.generation}
    return {name: value for name, value in contents.items() if value}


def open_weights(source: str | Path) -> Weights:
  """Opens a source of weights.

  Args:
    source: see `load_pretrained`.

  Raises:
    UserError: the source does not exist or fails a check.
  """
  path, link_root = locate(source)
  if link_root and os.path.isdir(path):
    return _folder(path, link_root)
  if os.path.isdir(path / "checkpoints"):
    return Weights(_run_variables(path))
  if os.path.isdir(path):
    return _folder(path)
  if not os.path.lexists(path):
    raise not_found(
      source,
      "expected weights: a .safetensors or .npz file, a folder with "
      f"{SINGLE}, a run folder, or {SCHEME}ORG/NAME",
    )
  return Weights(_file(path, link_root))


def locate(source: str | Path) -> tuple[Path, Path | None]:
  """Returns the path of a source and the folder that its links may point to.

  Names on the hub are downloaded; files in the hub's cache are links.
  """
  text = str(source)
  if text.startswith(SCHEME):
    path = hub.download(text.removeprefix(SCHEME), missing_files)
    # Some caches hold copies, not links.
    return path, hub_cache.blobs(path) or path
  path = Path(os.path.expanduser(text))
  return path, hub_cache.blobs(path if os.path.isdir(path) else path.parent)


def not_found(source: str | Path, expected: str) -> UserError:
  """Returns the error for a source that does not exist, with a suggestion."""
  text = str(source)
  if match := HUB_ADDRESS.match(text):
    remedy = f"write {SCHEME}{match[1]}, if that is a name on the hub"
  elif "://" in text:
    remedy = f"download it and pass the path, or write {SCHEME}ORG/NAME"
  elif hub.NAME.fullmatch(text) and not text.endswith(SUFFIXES):
    remedy = f"check the path, or write {SCHEME}{text} for a name on the hub"
  else:
    remedy = "check the path; relative paths start in the working directory"
  got = f"got {quoted(text)}: no such file or folder"
  return UserError(expected, got, remedy)


def missing_files(folder: Path) -> list[str]:
  """Returns the names of weight files that a folder of the hub's cache lacks.

  They are known from the index, which an interrupted download may have left.
  """
  index = folder / INDEX
  names = {path.name for path in folder.glob("*.safetensors") if path.exists()}
  if SINGLE in names:
    return []
  if not index.exists():
    if not names:
      return [SINGLE]
    return [INDEX] if any(map(pickles.SHARD.search, names)) else []
  weight_map = files.read_json(index, hub_cache.blobs(folder)).get("weight_map")
  try:
    return sorted(shards.file_names(weight_map) - names)
  except ValueError:  # Opening the index reports it.
    return []


def _file(path: Path, link_root: Path | None) -> Mapping[str, np.ndarray]:
  if path.suffix == ".npz":
    return npz.File(path)
  with files.open_plain(path, link_root) as file:
    magic = file.read(2)
  # Zip files other than .npz, and pickle's PROTO opcode with version 2.
  if path.suffix in pickles.SUFFIXES or magic in (b"PK", b"\x80\x02"):
    raise pickles.refusal([path], path.with_suffix(".safetensors"))
  if (shard := pickles.SHARD.search(path.name)) and int(shard[1]) > 1:
    raise UserError(
      f"expected all {int(shard[1])} files of the model",
      f"got one of them, {path.name}",
      f"pass their folder, {path.parent}, with its {INDEX}",
    )
  return safetensors.File(path, link_root)


def _folder(folder: Path, link_root: Path | None = None) -> Weights:
  """Opens a folder of config.json and safetensors, in one or several files."""
  single, index = folder / SINGLE, folder / INDEX
  settings = [read_settings(folder, n, link_root) for n in (CONFIG, GENERATION)]
  # As transformers does: an index next to a single file is out of date.
  if single.exists() or single.is_symlink():
    return Weights(safetensors.File(single, link_root), *settings)
  if index.exists() or index.is_symlink():
    return Weights(shards.open_index(index, link_root), *settings)
  if paths := pickles.in_folder(folder):
    raise pickles.refusal(paths, single)
  raise _no_weights(folder)


def _no_weights(folder: Path) -> UserError:
  """Returns the error for a folder without weights of the usual names."""
  suffixes = (".safetensors", ".npz")
  names = sorted(p.name for p in folder.iterdir() if p.suffix in suffixes)
  expected = f"expected {SINGLE} or {INDEX} in {folder}"
  if any(map(pickles.SHARD.search, names)):
    return UserError(
      expected,
      f"got {len(names)} files of a model, such as {names[0]}, without {INDEX}",
      f"download {INDEX} from the same place: it names the file of each array",
    )
  if not names:
    return UserError(
      expected,
      "got neither",
      "pass the folder or the file of the weights: .safetensors or .npz",
    )
  return UserError(
    expected,
    f"got neither, but {', '.join(names[:3])}",
    f"pass the path of the file itself, such as {folder / names[0]}",
  )


def read_settings(
  folder: Path, name: str, link_root: Path | None
) -> dict[str, Any] | None:
  """Returns the object in a JSON file of a folder, None if it is missing.

  Raises:
    UserError: see `files.read_json`.
  """
  path = folder / name
  return files.read_json(path, link_root) if path.exists() else None


def _run_variables(folder: Path) -> dict[str, np.ndarray]:
  """Returns the variables of a run's best checkpoint by path.

  Averaged parameters replace the raw ones, and frozen parameters are included.
  Scanned blocks are separate arrays, as in published weights.
  """
  checkpoints = folder / "checkpoints"
  if checkpoints.is_symlink():
    raise UserError(
      f"expected a folder at {checkpoints}",
      "got a link",
      "move the folder itself there, or pass the run that contains it",
    )
  step = storage.best_step(checkpoints)
  if step is None:
    raise UserError(
      f"expected a run with a complete checkpoint in {folder}",
      "got a run without one",
      f"train first: experiments/train.py --workdir={folder}",
    )
  variables = trees.flatten(storage.read_variables(checkpoints, step))
  if any(path.startswith(ADAPTERS) for path in variables):
    raise UserError(
      "expected weights under the names of a model",
      f"got the adapters of the run in {folder}",
      "pass the variables of dlcore.load(RUN), or export the run",
    )
  return stacked_blocks.unstack(variables)

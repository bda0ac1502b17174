"""Opens the files of a folder of PEFT, which are not trusted."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dlcore.errors import UserError
from dlcore.filesystem import hub_cache
from dlcore.transfer import target_units
from dlcore.transfer.io import files, hub, pickles, safetensors, sources
from dlcore.transfer.peft import adapter_config
from dlcore.transfer.peft.adapter_config import AdapterConfig
from dlcore.transfer.target_units import TargetUnits

ARRAYS = "adapter_model.safetensors"
PICKLE = "adapter_model.bin"


class AdapterFiles(NamedTuple):
  """The files of a folder of PEFT."""

  config: AdapterConfig
  arrays: Mapping[str, np.ndarray]
  """By PEFT's name."""

  units: TargetUnits | None = None
  """Of the head of a regression."""


def open_folder(folder: str | Path) -> AdapterFiles:
  """Opens a folder of adapters.

  Args:
    folder: a folder, or `hf:org/name`.

  Raises:
    UserError: a file is missing, no plain file, a pickle, or invalid.
  """
  path, link_root = _locate(folder)
  if not os.path.isdir(path):
    expected = f"expected a folder with {adapter_config.FILE} and {ARRAYS}"
    if not os.path.lexists(path):
      raise sources.not_found(folder, expected)
    raise UserError(expected, f"got the file {path}", "pass its folder")
  config, arrays = path / adapter_config.FILE, path / ARRAYS
  if not os.path.lexists(arrays) and os.path.lexists(path / PICKLE):
    raise pickles.refusal([path / PICKLE], arrays)
  for file in (config, arrays):
    if not os.path.lexists(file):
      raise UserError(
        f"expected {adapter_config.FILE} and {ARRAYS} in {path}",
        f"got no {file.name}",
        "pass the folder that PEFT's save_pretrained has written",
      )
  entries = files.read_json(config, link_root)
  target = sources.read_settings(path, target_units.FILE, link_root)
  return AdapterFiles(
    adapter_config.parse(entries, config),
    safetensors.File(arrays, link_root),
    target_units.read(target),
  )


def _locate(folder: str | Path) -> tuple[Path, Path | None]:
  """Returns the path of a folder, and the folder its links may point to."""
  name = str(folder)
  if not name.startswith(sources.SCHEME):
    return sources.locate(folder)
  path = hub.download(name.removeprefix(sources.SCHEME), missing_files)
  return path, hub_cache.blobs(path) or path


def missing_files(folder: Path) -> list[str]:
  """Returns the names of files that a folder of the hub's cache lacks."""
  names = (adapter_config.FILE, ARRAYS)
  return [name for name in names if not (folder / name).exists()]

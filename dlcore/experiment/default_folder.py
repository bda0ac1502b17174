"""The default run folder, whose name follows the config and its overrides."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlcore.errors import UserError
from dlcore.experiment.config_comparison import compare_configs
from dlcore.experiment.folder import RunFolder

MAX_LENGTH = 120
"""Characters of the name of a folder; longer ones end with a hash."""

MAX_VALUE = 30
"""Characters of one value in it."""

MAX_TRIES = 1000

REPEATED = ("seed_*", "fold_*")
"""The folders of runs with several seeds or folds."""


def run_name(config_name: str, changes: Mapping[str, Any]) -> str:
  """Returns the name of a run: `"digits_cnn,learning_rate=0.003,seed=1"`.

  Args:
    config_name: name and variant of the config file.
    changes: leaves that the command line has changed, by their paths.
  """
  parts = [
    f"{_short(path, changes)}={_text(value)}"
    for path, value in sorted(changes.items())
  ]
  name = ",".join([config_name, *parts])
  if len(name) > MAX_LENGTH:
    name = f"{name[: MAX_LENGTH - 9]}-{_hash(name)}"
  return name


def default_workdir(
  name: str, config: Mapping[str, Any], root: str | Path = "runs"
) -> Path:
  """Returns the folder of a run without `--workdir`.

  That is the first of `root/name`, `root/name_2`, ... that has no run yet, or
  one that `config` continues: a config file may have changed since.

  Args:
    name: of the run, see `run_name`.
    config: the complete config.
    root: the folder of all runs.

  Raises:
    UserError: a thousand such folders hold runs of other configs.
  """
  for number in range(1, MAX_TRIES + 1):
    suffix = f"_{number}" if number > 1 else ""
    folder = Path(root) / f"{name}{suffix}"
    if _continues(folder, config):
      return folder
  raise UserError(
    f"expected a folder {name} in {root} without a run of another config",
    f"got {MAX_TRIES} of them",
    "choose a --workdir",
  )


def _continues(folder: Path, config: Mapping[str, Any]) -> bool:
  """Returns whether `folder` has no run, or runs that `config` continues."""
  runs = [folder] if folder.is_dir() else []
  for pattern in REPEATED:
    runs += sorted(folder.glob(pattern))
  for run in map(RunFolder, runs):
    if not run.has_begun():
      continue
    try:
      recorded = run.config()
      wanted = config if run.path == folder else _as_part(config, recorded)
      compare_configs(recorded, wanted, run.path)
    except UserError:
      return False
  return True


def _as_part(
  config: Mapping[str, Any], recorded: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns `config` with the seed and the fold of a run of a series."""
  names = config["data"].keys() & recorded["data"].keys() & {"fold", "folds"}
  fold = {name: recorded["data"][name] for name in names}
  data = {**config["data"], **fold}
  return {**config, "seed": recorded["seed"], "data": data}


def _short(path: str, changes: Mapping[str, Any]) -> str:
  """Returns the last part of a path, of `model.name` the section.

  The whole path stands for one of two that end alike.
  """

  def end(path: str) -> str:
    return path.removesuffix(".name").rpartition(".")[2]

  ends = [end(other) for other in changes]
  return end(path) if ends.count(end(path)) == 1 else path


def _text(value: Any) -> str:
  """Returns a value as part of a file name, of a path its last part."""
  text = f"{value:g}" if isinstance(value, float) else str(value)
  is_text = isinstance(value, str)
  short = Path(text).name if is_text else text
  short = re.sub(r"[^\w.+-]+", "_", short).strip("_")
  if len(short) <= MAX_VALUE and (not is_text or short == text):
    return short
  return f"{short[:MAX_VALUE]}-{_hash(text)}"


def _hash(text: str) -> str:
  return hashlib.sha256(text.encode()).hexdigest()[:8]

"""The run folder: data only, held by one run at a time."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from dlcore import data, storage, training
from dlcore.errors import UserError
from dlcore.experiment import defaults, renames
from dlcore.experiment.config_comparison import compare_configs
from dlcore.experiment.registration import imported_modules
from dlcore.filesystem import quoted

T = TypeVar("T")

MAX_JSON_BYTES = 1 << 26

CONFIG, DATA, SUMMARY = "config.json", "assets/data.json", "summary.json"
IMPORTS = "imports"
"""The key of the modules of `--import` in the record of the config. Nothing but
that flag imports them."""

PUBLISHED = "assets/published.json"
INITIAL_WEIGHTS = "assets/initial_weights.json"
TUNED = "assets/tuned.json"
PHASES = "assets/phases.json"


class RunFolder:
  """Reads and writes the files of one run."""

  def __init__(self, path: str | Path):
    """Takes the path; nothing is read yet."""
    self.path = Path(path)

  @property
  def checkpoints(self) -> Path:
    """The folder of the checkpoints."""
    return self.path / "checkpoints"

  @property
  def phases(self) -> Path:
    """The folder of the phases before the last one, each a run of `fit`."""
    return self.path / "phases"

  @contextlib.contextmanager
  def locked(self) -> Iterator[None]:
    """Creates the folder and locks it against other runs.

    Raises:
      UserError: it cannot be written, or another run holds it.
    """
    with storage.locked(self.path):
      yield

  def claim(self, config: Mapping[str, Any]) -> None:
    """Writes the config, or compares it with that of the run to continue.

    Raises:
      UserError: the folder holds a run of another config, or other files.
    """
    if self.has_begun():
      compare_configs(self.config(), config, self.path)
      if self._is_version_0_1():
        return  # The trainer refuses to continue it; nothing is rewritten.
    elif (self.path / CONFIG).exists() or (self.path / CONFIG).is_symlink():
      self.config()  # Do not overwrite a file that dlcore did not write.
    modules = imported_modules()
    record = {IMPORTS: modules} if modules else {}
    self.write_json(CONFIG, {**config, **record})

  def describe(self, splits: Mapping[str, data.Source]) -> None:
    """Writes `assets/data.json`, or compares it with the run's.

    Args:
      splits: the sources by name; `"train"` is described.

    Raises:
      UserError: the data is not that with which the run began.
    """
    if (self.path / DATA).exists() and self.has_begun():
      absent = dict.fromkeys(self.splits())
      self.compare_checksums({**absent, **splits})
      if self._is_version_0_1():
        return
    checksums = {name: _checksum(split) for name, split in splits.items()}
    content = data.info_to_json(splits["train"].info)
    self.write_json(DATA, {**content, "splits": checksums})

  def compare_checksums(self, splits: Mapping[str, data.Source | None]) -> None:
    """Compares splits of the data with those of the run.

    Args:
      splits: the sources by name, None for one that is absent.

    Raises:
      UserError: one differs.
    """
    recorded = self.splits()
    for split, source in splits.items():
      current = source and _checksum(source)
      if not _is_same(recorded.get(split), source):
        raise UserError(
          f"expected the {split} data with which the run in {self.path} "
          f"began: {_describe_checksum(recorded.get(split))}",
          f"got {_describe_checksum(current)}",
          "put the data back, or choose another --workdir",
        )

  def config(self) -> dict[str, Any]:
    """Returns the run's complete config, with today's names.

    Raises:
      UserError: it is missing, or this version of dlcore cannot read it.
    """
    content = self.read_json(CONFIG)
    if content.get("kind") == training.FIT:
      raise UserError(
        f"expected the run of a config in {self.path}",
        "got a run of training.fit, whose parts are Python",
        "continue it with its own program, or choose another --workdir",
      )
    try:
      own = {key: content[key] for key in content if key != IMPORTS}
      return defaults.complete(renames.upgrade(own))
    except UserError as error:
      raise UserError(
        f"expected the config of a run in {self.path / CONFIG}",
        f"got one that this dlcore cannot read: {'; '.join(error.lines)}",
        _import_hint(content)
        or "put a good copy back, or choose another --workdir",
      ) from error

  def check(self) -> None:
    """Checks that the folder is a run, of a config or of `training.fit`.

    Raises:
      UserError: it is not.
    """
    if self.fit_settings() is None:
      self.config()

  def fit_settings(self) -> dict[str, Any] | None:
    """Returns the `settings` of a run of `training.fit`, None for others.

    Raises:
      UserError: the config is missing or malformed.
    """
    content = self.read_json(CONFIG)
    if content.get("kind") != training.FIT:
      return None
    settings = content.get("settings")
    if not isinstance(settings, dict):
      raise UserError(
        f"expected {self.path / CONFIG} as training.fit wrote it",
        f"got settings={settings!r:.80}",
        "put a good copy back",
      )
    return settings

  def info(self) -> data.DataInfo:
    """Returns the description of the training data.

    The number of token ids is that of the model. Runs of older versions have
    it in the config.

    Raises:
      UserError: it is missing or malformed.
    """
    info = self._parse_data(data.info_from_json)
    section = self.read_json(CONFIG).get("model")
    size = section.get("vocab_size") if isinstance(section, dict) else None
    if not isinstance(size, int) or size <= (info.schema.vocab_size or size):
      return info
    schema = dataclasses.replace(info.schema, vocab_size=size)
    return info._replace(schema=schema)

  def splits(self) -> dict[str, Any]:
    """Returns `{"size", "sha256"}` of every split of the run's data."""
    return self._parse_data(data.checksums_from_json)

  def _parse_data(self, parse: Callable[[Any], T]) -> T:
    content = self.read_json(DATA)
    try:
      return parse(content)
    except ValueError as error:
      raise UserError(
        f"expected {self.path / DATA} as training wrote it",
        f"got {error}",
        "put a good copy back, or train in another --workdir",
      ) from error

  def published(self) -> dict[str, dict[str, Any]]:
    """Returns the JSON files that came with the weights of `init.source`.

    Returns:
      Their content by file name, see `transfer.read_published`. Empty for a
      source without such files, and for runs of older versions.

    Raises:
      UserError: the file or the config is malformed.
    """
    if not (self.path / PUBLISHED).exists():
      return {}
    if not self.config()["init"]["source"]:  # Of an attempt that made no step.
      return {}
    content = self.read_json(PUBLISHED)
    if not all(isinstance(entries, dict) for entries in content.values()):
      raise UserError(
        f"expected {self.path / PUBLISHED} as training wrote it",
        "got other values than the objects of JSON files",
        "put a good copy back, or remove it",
      )
    return content

  def initial_weights(self) -> dict[str, str]:
    """Returns the paths and the checksums of the initial weights.

    Returns:
      `{"source", "sha256"}` of `init.source`, a known "license", and "adapter"
      of `init.adapter`, with "adapter_sha256" if a restored run needs it; empty
      for a run of an older version.

    Raises:
      UserError: the file is malformed.
    """
    if not (self.path / INITIAL_WEIGHTS).exists():
      return {}
    content = self.read_json(INITIAL_WEIGHTS)
    required = ("source", "sha256")
    values = [*content.values(), *(content.get(key) for key in required)]
    if not all(isinstance(value, str) for value in values):
      raise UserError(
        f"expected {self.path / INITIAL_WEIGHTS} as training wrote it",
        f"got {quoted(content)}",
        "put a good copy back, or train in another --workdir",
      )
    return content

  def tuned(self) -> dict[str, Any]:
    """Returns the settings of the task that were chosen on validation.

    Raises:
      UserError: the file is malformed.
    """
    if not (self.path / TUNED).exists():
      return {}
    content = self.read_json(TUNED)
    return {
      name: tuple(value) if isinstance(value, list) else value
      for name, value in content.items()
    }

  def has_checkpoints(self) -> bool:
    """Returns whether there are checkpoints, damaged or not."""
    return self.checkpoints.is_dir() and any(self.checkpoints.iterdir())

  def has_begun(self) -> bool:
    """Returns whether there are checkpoints, of a phase before the last too."""
    earlier = self.phases.iterdir() if self.phases.is_dir() else ()
    return self.has_checkpoints() or any(
      RunFolder(phase).has_checkpoints() for phase in earlier
    )

  def check_continues(self) -> None:
    """Checks that the run can continue, if it has begun.

    Raises:
      UserError: dlcore 0.1 wrote it.
    """
    if self._is_version_0_1():
      storage.check_continues(self.checkpoints, self.newest_step())

  def _is_version_0_1(self) -> bool:
    has_checkpoints = self.has_checkpoints()
    return has_checkpoints and storage.is_version_0_1(self.checkpoints)

  def newest_step(self) -> int:
    """Returns the newest good step, 0 if there is none."""
    return storage.newest_step(self.checkpoints) or 0

  def select_step(self, step: int | None = None) -> int:
    """Returns `step`, or by default the best or the newest one.

    Raises:
      UserError: no checkpoint is finished.
    """
    if self.checkpoints.is_symlink():
      raise UserError(f"expected a folder at {self.checkpoints}", "got a link")
    if step is not None:
      return step
    best = storage.best_step(self.checkpoints)
    if best is None:
      raise UserError(
        f"expected a run with a finished checkpoint in {self.path}",
        "got a run without one",
        f"train first: experiments/train.py --workdir={self.path}",
      )
    return best

  def read_json(self, name: str) -> dict[str, Any]:
    """Returns one of the folder's JSON files.

    Raises:
      UserError: it is missing or damaged.
    """
    path = self.path / name
    try:
      storage.checked_path(self.path, name)
      return storage.read_json(path, max_bytes=MAX_JSON_BYTES)
    except OSError as error:
      raise UserError(
        f"expected the folder of a run, with its {name}, at {self.path}",
        f"got: {error.strerror}",
        "pass the folder that experiments/train.py has written",
      ) from error
    except ValueError as error:
      raise UserError(
        f"expected JSON as training wrote it in {path}",
        f"got: {error}",
        "put a good copy back, or choose another --workdir; if you edited it, "
        "remove sha256.json",
      ) from error

  def write_json(self, name: str, content: Mapping[str, Any]) -> None:
    """Writes a JSON file atomically."""
    text = json.dumps(content, indent=1, default=float) + "\n"
    storage.write_file(self.path, name, text.encode())

  def write_arrays(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an `.npz` file atomically."""
    storage.write_file(
      self.path,
      name,
      lambda file: np.savez_compressed(file, allow_pickle=False, **arrays),
    )


def _import_hint(content: Mapping[str, Any]) -> str:
  """Returns the flag that imports the modules of a run, or an empty string."""
  names = content.get(IMPORTS)
  names = names if isinstance(names, list) else []
  missing = [str(n) for n in names if n not in imported_modules()]
  if not missing:
    return ""
  return f"add --import={','.join(missing)}, if you trust this code"


def _checksum(source: data.Source) -> dict[str, Any]:
  """Returns the size and the checksum of a split, as `data.json` has them."""
  return {"size": source.info.size, "sha256": source.info.sha256}


def _is_same(
  recorded: Mapping[str, Any] | None, source: data.Source | None
) -> bool:
  """Returns whether `source` has the checksum of this or an earlier version."""
  if source is None or recorded is None:
    return source is recorded
  current = _checksum(source)
  return recorded == current or recorded == {
    **current,
    "sha256": data.sha256_v0_1(source),
  }


def _describe_checksum(split: Mapping[str, Any] | None) -> str:
  if split is None:
    return "none"
  sha256 = str(split.get("sha256"))[:12]
  return f"{split.get('size')} examples, sha256 {sha256}"

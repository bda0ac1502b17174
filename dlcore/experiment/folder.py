"""The run folder: data only, held by one run at a time."""

import contextlib
import fcntl
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from dlcore import trees
from dlcore.errors import UserError
from dlcore.experiment import about, defaults
from dlcore.optim.schedules import depends_on_steps
from dlcore.training import checkpoint, integrity

FREE = (
  "data.cache_dir",
  "data.data_dir",
  "data.download",
  "data.manual_dir",
  "data.path",
  "data.test",
  "data.train",
  "data.valid",
  "data.workers",
  "training.log_every",
  "training.watch_every",
)
"""Leaves that change no number: where data lies (its sums are compared), how
it is read, and what is written of the run."""

LARGEST = 1 << 26
"""Of a JSON file of the run, in bytes."""


log = logging.getLogger("dlcore")


class RunFolder:
  """Reads and writes the files of one run."""

  def __init__(self, path: str | Path):
    """Names the folder; nothing is read yet."""
    self.path = Path(path)

  @property
  def checkpoints(self) -> Path:
    """Where the steps are."""
    return self.path / "checkpoints"

  @contextlib.contextmanager
  def locked(self) -> Iterator[None]:
    """Makes the folder and holds it against other runs.

    The lock is on the folder itself and ends with the process, however it
    ends: nothing stale can remain.

    Raises:
      UserError: the folder cannot be written, or another run holds it.
    """
    try:
      self.path.mkdir(parents=True, exist_ok=True)
      with tempfile.TemporaryFile(dir=self.path):
        pass
    except OSError as error:
      raise UserError(
        f"expected a folder that can be written at {self.path}",
        f"got: {error.strerror or error}",
        "choose another --workdir",
      ) from error
    handle = os.open(self.path, os.O_RDONLY)
    try:
      fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      os.close(handle)
      raise UserError(
        f"expected {self.path} to be free",
        "got a folder in which another run is going on",
        "wait for it, or choose another --workdir",
      ) from error
    try:
      yield
    finally:
      os.close(handle)

  def claim(self, config: Mapping[str, Any]) -> None:
    """Writes the config, or compares it with that of the run to go on with.

    Raises:
      UserError: the folder holds the run of another config, or something else.
    """
    if self.begun():
      _compare(self.config(), config, self.path)
    elif os.path.lexists(self.path / "config.json"):
      self.config()  # A file of ours may be written anew, no other.
    self.write("config.json", config)

  def describe(self, about: Mapping[str, Any], sums: Mapping[str, Any]) -> None:
    """Writes `assets/data.json`, or compares it with the run's.

    Args:
      about: of the training data.
      sums: `{"size", "sha256"}` of every split.

    Raises:
      UserError: the data is not what the run began with.
    """
    if (self.path / "assets" / "data.json").exists() and self.begun():
      absent = dict.fromkeys(self.about()["splits"])
      self.compare_sums({**absent, **sums})
    whole = {key: about[key] for key in about if key not in ("size", "sha256")}
    self.write("assets/data.json", {**whole, "splits": dict(sums)})

  def compare_sums(self, sums: Mapping[str, Any]) -> None:
    """Compares splits of the data with those of the run.

    Args:
      sums: `{"size", "sha256"}` by split, or None where it is absent.

    Raises:
      UserError: one is not what the run began with.
    """
    before = self.about()["splits"]
    for split, now in sums.items():
      if before.get(split) != now:
        raise UserError(
          f"expected the {split} data with which the run in {self.path} "
          f"began: {_told(before.get(split))}",
          f"got {_told(now)}",
          "put the data back, or choose another --workdir",
        )

  def config(self) -> dict[str, Any]:
    """Returns the run's complete config.

    Raises:
      UserError: there is none, or it is none of this version of dlcore.
    """
    content = self.read("config.json")
    try:
      return defaults.complete(content)
    except UserError as error:
      raise UserError(
        f"expected the config of a run in {self.path / 'config.json'}",
        f"got one that this dlcore cannot read: {'; '.join(error.lines)}",
        "put a good copy back, or choose another --workdir",
      ) from error

  def about(self) -> dict[str, Any]:
    """Returns what predicting needs to know of the data.

    Raises:
      UserError: it is not there, or not as training has written it.
    """
    content = self.read("assets/data.json")
    if problem := about.problem(content):
      raise UserError(
        f"expected {self.path / 'assets/data.json'} as training wrote it",
        f"got {problem}",
        "put a good copy back, or train in another --workdir",
      )
    return content

  def begun(self) -> bool:
    """Tells whether there are checkpoints, good or not."""
    return self.checkpoints.is_dir() and any(self.checkpoints.iterdir())

  def made(self) -> int:
    """Returns the newest good step, 0 where there is none."""
    return checkpoint.newest(self.checkpoints) or 0

  def step(self, wanted: int | None = None) -> int:
    """Returns the step to evaluate: the wanted, the best or the newest.

    Raises:
      UserError: no checkpoint is finished.
    """
    if self.checkpoints.is_symlink():
      raise UserError(f"expected a folder at {self.checkpoints}", "got a link")
    if wanted is not None:
      return wanted
    best = checkpoint.best(self.checkpoints)
    if best is None:
      raise UserError(
        f"expected a run with a finished checkpoint in {self.path}",
        "got none",
        f"train first: experiments/train.py --workdir={self.path}",
      )
    return best

  def restored(self, step: int) -> tuple[dict, dict]:
    """Returns `(params, extra)` of a step; the averaged ones if there are."""
    state = checkpoint.read(self.checkpoints, step)
    params = trees.merge(state["params"], state.get("ema", {}))
    return params, state.get("extra", {})

  def read(self, name: str) -> dict[str, Any]:
    """Returns one of the folder's JSON files.

    Raises:
      UserError: it is not there or broken.
    """
    path = self.path / name
    try:
      if path.resolve() != self.path.resolve() / name:
        raise ValueError("a link")
      if path.exists() and not path.is_file():
        raise ValueError("no plain file")
      if path.stat().st_size > LARGEST:
        raise ValueError("a file that is too large")
      self._check_intact(name)
      content = json.loads(path.read_text("utf-8"))
      if not isinstance(content, dict):
        raise ValueError("no JSON object")
    except OSError as error:
      raise UserError(
        f"expected the folder of a run, with its {name}, at {self.path}",
        f"got: {error.strerror}",
        "name the folder that experiments/train.py has written",
      ) from error
    except (ValueError, RecursionError) as error:
      raise UserError(
        f"expected JSON as training wrote it in {path}",
        f"got: {error}",
        "put a good copy back, or choose another --workdir",
      ) from error
    return content

  def _check_intact(self, name: str) -> None:
    if not integrity.intact(self.path, name):
      raise UserError(
        f"expected {self.path / name} as training wrote it",
        f"got other content than its sum in {integrity.NAME} tells",
        f"put a good copy back, or remove {integrity.NAME} if you changed it",
      )

  def write(self, name: str, content: Mapping[str, Any]) -> None:
    """Writes a JSON file, all of it or nothing."""
    text = json.dumps(content, indent=1, default=float) + "\n"
    with self._replacing(name) as file:
      file.write(text.encode())

  def write_arrays(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an `.npz` file, all of it or nothing."""
    with self._replacing(name) as file:
      np.savez_compressed(file, **arrays)

  @contextlib.contextmanager
  def _replacing(self, name: str) -> Iterator[IO[bytes]]:
    """Opens a new file that takes the place of `name` when it is whole."""
    path = self.path / name
    path.parent.mkdir(exist_ok=True)
    if path.parent.resolve() != (self.path.resolve() / name).parent:
      raise UserError(
        f"expected a folder at {path.parent}", "got a link to elsewhere"
      )
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)  # It might be a link to elsewhere.
    try:
      with temporary.open("xb") as file:
        yield file
      integrity.expect(self.path, name, temporary)
      temporary.replace(path)
    finally:
      temporary.unlink(missing_ok=True)


def _compare(
  old: Mapping[str, Any], new: Mapping[str, Any], path: Path
) -> None:
  before, after = defaults.leaves(old), defaults.leaves(new)
  free = set(FREE)
  if not depends_on_steps(new["optim"]["schedule"]["name"]):
    free |= _prolonged(before, after)
  both = sorted(before.keys() & after.keys() - free)
  # A changed name comes first: it explains the settings that come and go.
  differing = [key for key in both if before[key] != after[key]]
  differing.sort(key=lambda key: not key.endswith("name"))
  if differing:
    raise UserError(
      f"expected the config of the run in {path}",
      "; ".join(
        f"{key}: {before[key]!r} in the run, {after[key]!r} now"
        for key in differing[:2]
      ),
      "choose another --workdir, or take the changes back",
    )


def _prolonged(before, after) -> set[str]:
  """Returns the leaves that may differ where the run is only made longer."""
  names = ("training.steps", "training.epochs")
  longer = all(after[name] >= before[name] for name in names)
  return set(names) if longer else set()


def _told(sums: Mapping[str, Any] | None) -> str:
  """Returns the size and the sum of a split in words."""
  if sums is None:
    return "none"
  return f"{sums.get('size')} examples, sha256 {str(sums.get('sha256'))[:12]}"

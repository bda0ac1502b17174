"""The run folder: data only, held by one run at a time."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlcore.errors import UserError
from dlcore.experiment import defaults
from dlcore.optim.schedules import depends_on_steps
from dlcore.training import checkpoint

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
)
"""Leaves that change no number: where data lies (its sums are compared), how
it is read, and what is written of the run."""


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
      (self.path / ".writable").touch()
      (self.path / ".writable").unlink()
    except OSError as error:
      raise UserError(
        f"expected a folder that can be written at {self.path}",
        f"got: {error.strerror or error}",
        "choose another --workdir",
      ) from error
    handle = os.open(self.path, os.O_RDONLY)
    try:
      fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      os.close(handle)
      raise UserError(
        f"expected {self.path} to be free",
        "another run is going on in it",
        "wait for it, or choose another --workdir",
      ) from error
    try:
      yield
    finally:
      os.close(handle)

  def claim(self, config: Mapping[str, Any]) -> None:
    """Writes the config, or compares it with that of the run to go on with.

    Raises:
      UserError: the folder holds the run of another config.
    """
    if (self.path / "config.json").exists() and self._begun():
      _compare(self.config(), config, self.path)
    self.write("config.json", config)

  def describe(self, about: Mapping[str, Any], sums: Mapping[str, Any]) -> None:
    """Writes `assets/data.json`, or compares it with the run's.

    Args:
      about: of the training data.
      sums: `{"size", "sha256"}` of every split.

    Raises:
      UserError: the data is not what the run began with.
    """
    if (self.path / "assets" / "data.json").exists() and self._begun():
      before = self.about()["splits"]
      for split in sorted(before.keys() | sums.keys()):
        if before.get(split) != sums.get(split):
          raise UserError(
            f"expected the {split} data with which this run began: "
            f"{before.get(split)}",
            f"got {sums.get(split)}",
            "choose another --workdir for the new data",
          )
    whole = {key: about[key] for key in about if key not in ("size", "sha256")}
    self.write("assets/data.json", {**whole, "splits": dict(sums)})

  def config(self) -> dict[str, Any]:
    """Returns the run's complete config."""
    return defaults.complete(self.read("config.json"))

  def about(self) -> dict[str, Any]:
    """Returns what predicting needs to know of the data."""
    return self.read("assets/data.json")

  def step(self, wanted: int | None = None) -> int:
    """Returns the step to evaluate: the wanted, the best or the newest.

    Raises:
      UserError: no checkpoint is finished.
    """
    if wanted is not None:
      return wanted
    newest = checkpoint.newest(self.checkpoints)
    if newest is None:
      raise UserError(
        f"expected a run with a finished checkpoint in {self.path}",
        "there is none",
        f"train first: experiments/train.py --workdir={self.path}",
      )
    best = int(checkpoint.read(self.checkpoints, newest)["best"]["step"])
    return best if best >= 0 else newest

  def parameters(self, step: int) -> tuple[dict, dict]:
    """Returns `(params, extra)` of a step; the averaged ones if there are."""
    state = checkpoint.read(self.checkpoints, step)
    return state.get("ema") or state["params"], state.get("extra", {})

  def read(self, name: str) -> dict[str, Any]:
    """Returns one of the folder's JSON files.

    Raises:
      UserError: it is not there or broken.
    """
    try:
      content = json.loads((self.path / name).read_text())
    except (OSError, ValueError) as error:
      raise UserError(
        f"expected the folder of a run, with a good {name}, at {self.path}",
        f"got: {error}",
        "name the folder that experiments/train.py has written",
      ) from error
    if not isinstance(content, dict):
      raise UserError(f"expected an object in {self.path / name}")
    return content

  def write(self, name: str, content: Mapping[str, Any]) -> None:
    """Writes a JSON file, all of it or nothing."""
    path = self.path / name
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1, default=float) + "\n")
    temporary.replace(path)

  def write_arrays(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an `.npz` file, all of it or nothing."""
    path = self.path / name
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
      np.savez_compressed(file, **arrays)
    temporary.replace(path)

  def _begun(self) -> bool:
    return self.checkpoints.is_dir() and any(self.checkpoints.iterdir())


def _compare(
  old: Mapping[str, Any], new: Mapping[str, Any], path: Path
) -> None:
  before, after = _leaves(old), _leaves(new)
  free = set(FREE)
  if not depends_on_steps(new["optim"]["schedule"]["name"]):
    free |= _prolonged(before, after)
  differences = [
    f"{key}: {before.get(key)!r} in the run, {after.get(key)!r} now"
    for key in sorted(before.keys() | after.keys())
    if key not in free and before.get(key) != after.get(key)
  ]
  if differences:
    raise UserError(
      f"expected the config of the run in {path}",
      "; ".join(differences[:2]),
      "choose another --workdir, or take the changes back",
    )


def _prolonged(before, after) -> set[str]:
  """Returns the leaves that may differ where the run is only made longer."""
  names = ("training.steps", "training.epochs")
  longer = all(after[name] >= before[name] for name in names)
  return set(names) if longer else set()


def _leaves(tree: Mapping[str, Any], path: str = "") -> dict[str, Any]:
  leaves = {}
  for key, value in tree.items():
    where = f"{path}{key}"
    if isinstance(value, Mapping):
      leaves |= _leaves(value, f"{where}.")
    else:
      leaves[where] = value
  return leaves

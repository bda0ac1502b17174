"""Comparison of a config with that of the run to continue."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlcore.errors import UserError
from dlcore.experiment import defaults
from dlcore.experiment.adaptation import strategy
from dlcore.optim.schedules import depends_on_steps

UNCOMPARED = (
  "data.cache_dir",
  "data.data_dir",
  "data.download",
  "data.manual_dir",
  "data.path",
  "data.test",
  "data.train",
  "data.valid",
  "data.workers",
  "training.keep_every",
  "training.layer_statistics_every",
  "training.log_every",
  "training.memory_limit",
  "training.on_change",
)
"""Leaves that change no number of a run: the location of the data, whose
checksums are compared, its reading, and the settings of logs and saves."""


def compare_configs(
  old: Mapping[str, Any], new: Mapping[str, Any], path: Path
) -> None:
  """Checks that the run with the config `old` continues with `new`.

  The run may become longer if its schedule does not depend on its length, and
  if it is of one phase: the others have ended, and would have become longer.

  Args:
    old: complete config of the run.
    new: complete config of the command.
    path: of the run, for the message.

  Raises:
    UserError: a setting differs that changes the numbers of the run.
  """
  before, after = defaults.leaves(old), defaults.leaves(new)
  uncompared = set(UNCOMPARED)
  extended = _extended(before, after)
  if not depends_on_steps(new["optim"]["schedule"]["name"]):
    uncompared |= extended
  both = sorted(before.keys() & after.keys() - uncompared)
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
  key = "training.steps" if after["training.steps"] else "training.epochs"
  if key in extended and before[key] != after[key]:
    _check_one_phase(key, before[key], after[key], new, path)


def _check_one_phase(
  key: str,
  before: float,
  after: float,
  config: Mapping[str, Any],
  path: Path,
) -> None:
  """Checks that a run that becomes longer has no phases that have ended.

  Args:
    key: the leaf that decides the number of steps.
    before: its value in the run.
    after: its value now.
    config: complete config of the command.
    path: of the run, for the message.

  Raises:
    UserError: its strategy has several phases.
  """
  count = len(strategy(config))
  if count > 1:
    name = config["init"]["strategy"]["name"]
    raise UserError(
      f"expected {key}={before}, the length of the run in {path}, which the "
      f"{count} phases of init.strategy={name} share",
      f"got {after}, with more steps for phases that have ended",
      "choose another --workdir; set init.source to this run to train further",
    )


def _extended(before: Mapping, after: Mapping) -> set[str]:
  """Returns the leaves that may differ if the run is only made longer.

  `training.steps` decides if it is not 0, otherwise `training.epochs` does.
  """
  steps, epochs = "training.steps", "training.epochs"
  if before[steps] and after[steps] >= before[steps]:
    return {steps, epochs}
  if not before[steps] and not after[steps] and after[epochs] >= before[epochs]:
    return {epochs}
  return set()

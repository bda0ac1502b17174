"""Comparison of a config with that of the run to continue."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlcore.errors import UserError
from dlcore.experiment import defaults
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

  The run may become longer if its schedule does not depend on its length.

  Args:
    old: complete config of the run.
    new: complete config of the command.
    path: of the run, for the message.

  Raises:
    UserError: a setting differs that changes the numbers of the run.
  """
  before, after = defaults.leaves(old), defaults.leaves(new)
  uncompared = set(UNCOMPARED)
  if not depends_on_steps(new["optim"]["schedule"]["name"]):
    uncompared |= _extended(before, after)
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

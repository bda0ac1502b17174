"""The same experiment with several seeds, to measure the spread."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlcore import report
from dlcore.errors import UserError
from dlcore.experiment.training_run import train
from dlcore.training import RANGES, Phases

logger = logging.getLogger("dlcore")


def train_seeds(
  config: Mapping[str, Any],
  count: int,
  workdir: str | Path,
  *,
  progress: bool = True,
  phases: Phases | None = None,
) -> dict[int, dict[str, Any]]:
  """Trains `config` with each of `count` seeds, from its own upwards.

  The run of seed 3 is the folder `workdir/seed_3`, an ordinary run folder: it
  is started or continued, unless it is finished. At the end the page of all
  runs is written, `workdir/report.html`.

  Args:
    config: the complete tree, see `complete`.
    count: how many seeds.
    workdir: the folder of the runs' folders.
    progress: whether to show progress on standard error.
    phases: adds up the wall time of the first run by phase.

  Returns:
    The results of `train` by seed.

  Raises:
    UserError: a mistake that the user can fix.
    Stopped: a signal was received, and the state of the run was saved.
  """
  workdir, first = Path(workdir), int(config["seed"])
  last = first + count - 1
  greatest = int(RANGES["seed"][1])
  if count < 1 or last > greatest:
    raise UserError(
      f"expected --seeds of at least 1, and no seed above {greatest}",
      f"got {count}, from the seed {first} on",
      "--seeds=5 trains five runs",
    )
  if os.path.exists(workdir / "config.json"):
    raise UserError(
      f"expected a folder for the runs of several seeds at {workdir}",
      "got the folder of a single run",
      "choose another --workdir",
    )
  results = {}
  for index, seed in enumerate(range(first, last + 1), 1):
    folder = workdir / f"seed_{seed}"
    if progress:
      logger.info("seed %d (%d of %d): %s", seed, index, count, folder)
    results[seed] = train(
      {**config, "seed": seed}, folder, progress=progress, phases=phases
    )
    phases = None
  report.compare([workdir], workdir / "report.html")
  return results

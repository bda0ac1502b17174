"""The same experiment with several seeds, to measure the spread."""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dlcore import report
from dlcore.errors import UserError
from dlcore.experiment.training_run import train
from dlcore.training import RANGES, Phases

logger = logging.getLogger("dlcore")


@contextlib.contextmanager
def messages_once() -> Iterator[None]:
  """Drops messages that equal an earlier one within the block.

  The runs of a series load the same data, with the same notes.
  """
  seen: set[tuple[int, str]] = set()

  def is_new(record: logging.LogRecord) -> bool:
    message = (record.levelno, record.getMessage())
    new = message not in seen
    seen.add(message)
    return new

  logger.addFilter(is_new)
  try:
    yield
  finally:
    logger.removeFilter(is_new)


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
  first = int(config["seed"])
  last = first + count - 1
  greatest = int(RANGES["seed"][1])
  if count < 1 or last > greatest:
    raise UserError(
      f"expected --seeds of at least 1, and no seed above {greatest}",
      f"got {count}, from the seed {first} on",
      "--seeds=5 trains five runs",
    )
  seeds = range(first, last + 1)
  configs = {f"seed_{seed}": {**config, "seed": seed} for seed in seeds}
  results = train_series(configs, workdir, progress=progress, phases=phases)
  return dict(zip(seeds, results.values(), strict=True))


@messages_once()
def train_series(
  configs: Mapping[str, Mapping[str, Any]],
  workdir: str | Path,
  *,
  progress: bool = True,
  phases: Phases | None = None,
) -> dict[str, dict[str, Any]]:
  """Trains several configs, each in the folder of its name in `workdir`.

  See `train_seeds` for the folders, the page and the other arguments.

  Args:
    configs: complete trees by the name of the folder, such as `"seed_3"`.
    workdir: the folder of the runs' folders.
    progress: whether to show progress on standard error.
    phases: adds up the wall time of the first run by phase.

  Returns:
    The results of `train` by name.
  """
  workdir = Path(workdir)
  if os.path.exists(workdir / "config.json"):
    raise UserError(
      f"expected a folder for several runs at {workdir}",
      "got the folder of a single run",
      "choose another --workdir",
    )
  results = {}
  for index, (name, config) in enumerate(configs.items(), 1):
    folder = workdir / name
    if progress:
      title = name.replace("_", " ")
      logger.info("%s (%d of %d)", title, index, len(configs))
    results[name] = train(config, folder, progress=progress, phases=phases)
    phases = None
  report.compare([workdir], workdir / "report.html")
  return results

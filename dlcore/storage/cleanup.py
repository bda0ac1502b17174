"""Repairs a folder of checkpoints before a run continues from it."""

import logging
import shutil
from pathlib import Path

from dlcore.errors import UserError
from dlcore.filesystem.atomic import make_folder
from dlcore.storage import manifest
from dlcore.storage.checkpoint_reader import (
  finished_steps,
  newest_step,
  number,
)

REPLACED = ".replaced"
"""Suffix of a step that is kept until its replacement is finished."""

logger = logging.getLogger("dlcore")


def clean(folder: Path) -> int | None:
  """Removes unfinished steps and moves damaged ones out of `folder`.

  Only steps after the newest good one are touched, so that the run can write
  them again. Damaged ones move to the folder `damaged` of the run.

  Returns:
    The newest good step, or None.

  Raises:
    UserError: there are finished steps, but all of them are damaged.
  """
  for path in folder.glob(f"*{REPLACED}"):
    if number(path.name.removesuffix(REPLACED)) is not None:
      _settle(path)
  finished = finished_steps(folder)
  newest = newest_step(folder)
  if finished and newest is None:
    raise UserError(
      f"expected a good checkpoint in {folder}",
      f"all of its steps are damaged: {', '.join(map(str, sorted(finished)))}",
      "restore the folder from a copy, or remove it to start again",
    )
  for path in folder.iterdir():
    step = number(path.name)
    if step is None or (newest is not None and step <= newest):
      continue
    if step in finished:
      _move_out(path)
    else:
      remove(path)
  return newest


def remove(path: Path) -> None:
  """Removes a folder with its content; of a link, the link alone."""
  if path.is_dir() and not path.is_symlink():
    shutil.rmtree(path)
  else:
    path.unlink(missing_ok=True)


def _settle(replaced: Path) -> None:
  """Keeps a replaced step if its replacement is unfinished, else removes it."""
  step_folder = replaced.with_name(replaced.name.removesuffix(REPLACED))
  if (step_folder / manifest.NAME).exists():
    remove(replaced)
  else:
    remove(step_folder)
    replaced.rename(step_folder)


def _move_out(step_folder: Path) -> None:
  target = step_folder.parent.parent / "damaged" / step_folder.name
  make_folder(target.parent)
  remove(target)
  step_folder.rename(target)
  logger.warning("moved the damaged checkpoint to %s", target)

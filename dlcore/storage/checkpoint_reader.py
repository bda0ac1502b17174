"""Reading checkpoints, after every byte was compared with the manifest."""

import contextlib
import functools
import logging
import math
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dlcore import trees
from dlcore.errors import UserError
from dlcore.storage import manifest, version_0_1

ITEM = "checkpoint"
"""Name of the Orbax item, which holds `{"state": ..., "decisions": ...}`."""

FIXED = ("state/key", "state/hparams/")
"""Paths of leaves that cannot differ between a run and its checkpoints."""

logger = logging.getLogger("dlcore")


def restore(
  folder: Path, template: Mapping[str, Any], step: int | None = None
) -> dict[str, Any] | None:
  """Returns the newest good checkpoint in `folder`, or None if it is empty.

  Args:
    folder: the checkpoints of a run.
    template: `{"state": ..., "decisions": ...}` of arrays or
      `jax.ShapeDtypeStruct`s. The random key and the hyperparameters, where
      they are arrays, must equal those of the checkpoint.
    step: the checkpoint to read in place of the newest good one.

  Returns:
    A tree of the structure of `template` whose leaves are NumPy arrays.

  Raises:
    UserError: the arrays differ from `template` in path, shape or dtype, the
      run has another seed, or dlcore 0.1 wrote the checkpoint.
  """
  step = newest_step(folder) if step is None else step
  if step is None:
    return None
  tree = read_checkpoint(folder, step)
  check_continues(folder, step)
  try:
    restored = trees.restore(dict(template), trees.flatten(tree))
    _check_fixed(trees.flatten(restored), trees.flatten(template))
  except ValueError as error:
    raise UserError(
      f"expected a checkpoint of this experiment in {folder}",
      str(error),
      "use another workdir, or the version of dlcore that wrote it",
    ) from error
  return restored


def check_continues(folder: Path, step: int) -> None:
  """Checks that a run can continue from a checkpoint in `folder`.

  Raises:
    UserError: dlcore 0.1 wrote it.
  """
  if version_0_1.is_version_0_1(folder / str(step)):
    raise UserError(
      f"expected a checkpoint of this version of dlcore in {folder}",
      f"got step {step}, written by dlcore 0.1, whose runs cannot continue",
      "train in another workdir; the old run can still be evaluated, "
      "exported and used as initial weights",
    )


def newest_step(folder: Path) -> int | None:
  """Returns the newest step that passes its manifest, or None.

  Damaged steps are skipped with a warning.
  """
  steps = sorted(finished_steps(folder), reverse=True)
  return next((step for step in steps if is_good(folder, step)), None)


def best_step(folder: Path) -> int | None:
  """Returns the best step, the newest if that is not stored, or None."""
  newest = newest_step(folder)
  if newest is None:
    return None
  decisions = read_checkpoint(folder, newest)["decisions"]
  best = int(decisions.get("best_step", -1))
  if best < 0:
    return newest
  if not is_good(folder, best):
    logger.warning(
      "step %d, the best, is missing or damaged: using step %d", best, newest
    )
    return newest
  return best


def is_good(folder: Path, step: int) -> bool:
  """Returns whether a step is finished and undamaged; warns about damage."""
  if step not in finished_steps(folder):
    return False
  try:
    manifest.verify(folder / str(step))
  except manifest.DamagedCheckpoint as damage:
    logger.warning("skipping checkpoint %d: %s", step, damage)
    return False
  return True


def read_checkpoint(folder: str | Path, step: int) -> dict[str, Any]:
  """Returns `{"state": ..., "decisions": ...}` as dicts of NumPy arrays.

  Checkpoints of dlcore 0.1 are converted to the current names.

  Raises:
    UserError: the step is missing or damaged.
  """
  folder = Path(folder)
  _check(folder, step)
  step_folder = folder / str(step)
  if version_0_1.is_version_0_1(step_folder):
    return version_0_1.convert(_load(step_folder / version_0_1.ITEM))
  # Orbax omits empty dicts.
  return {"state": {}, "decisions": {}, **_load(step_folder / ITEM)}


def finished_steps(folder: Path) -> list[int]:
  """Returns the steps that have a manifest, whether damaged or not."""
  if not folder.is_dir():
    return []
  return [
    step
    for path in folder.iterdir()
    if (step := number(path.name)) is not None
    and os.path.lexists(path / manifest.NAME)
  ]


def number(name: str) -> int | None:
  """Returns the step of a folder's name, None for other names, as `007`."""
  is_step = name.isdecimal() and name == str(int(name))
  return int(name) if is_step else None


def _check(folder: Path, step: int) -> None:
  steps = finished_steps(folder)
  if step not in steps:
    raise UserError(
      f"expected a finished checkpoint of step {step} in {folder}",
      f"got: {', '.join(map(str, sorted(steps))) or 'no finished step'}",
      "choose one of the finished steps" if steps else "train first",
    )
  try:
    manifest.verify(folder / str(step))
  except manifest.DamagedCheckpoint as damage:
    raise UserError(
      f"expected an undamaged checkpoint at {folder / str(step)}",
      f"got a damaged one: {damage}",
      "choose another step, or restore the folder from a copy",
    ) from damage


@functools.cache  # Once in a process.
def _mute_late_callbacks() -> None:
  """Mutes TensorStore's callbacks that follow a failed read, in its threads.

  Orbax has closed the event loop by then, so that each would print a traceback.
  """
  report = sys.unraisablehook

  def hook(unraisable: Any) -> None:
    if str(unraisable.exc_value) != "Event loop is closed":
      report(unraisable)

  sys.unraisablehook = hook


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
  """Mutes Orbax's warning that an item has no metadata of a whole step."""
  logger = logging.getLogger("absl")
  logger.addFilter(_is_not_warning)
  try:
    yield
  finally:
    logger.removeFilter(_is_not_warning)


def _is_not_warning(record: logging.LogRecord) -> bool:
  return record.levelno != logging.WARNING


def _load(item: Path) -> dict[str, Any]:
  """Returns the arrays in a folder of Orbax.

  Raises:
    UserError: the arrays do not fit into memory, or cannot be read although
      their files have the checksums of the manifest.
  """
  import orbax.checkpoint as ocp  # Late: the import takes 1 s.

  remedy = "choose another step, or restore the folder from a copy"
  _mute_late_callbacks()
  with _without_warnings(), ocp.PyTreeCheckpointer() as checkpointer:
    try:
      tree = checkpointer.metadata(item.absolute()).item_metadata.tree
      size = sum(map(_num_bytes, jax.tree.leaves(tree)))
    except Exception as error:  # Orbax and TensorStore raise many kinds.
      raise UserError(
        f"expected a checkpoint of Orbax at {item}", _first_line(error), remedy
      ) from error
    if (
      size > manifest.physical_memory()
    ):  # Allocating them would abort the process.
      raise UserError(
        f"expected a checkpoint at {item} that fits into memory",
        f"got arrays of {size / 1e9:,.0f} GB in all",
        remedy,
      )
    # Without these arguments Orbax restores to the devices that wrote it.
    arguments = jax.tree.map(
      lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree
    )
    try:
      return checkpointer.restore(item.absolute(), restore_args=arguments)
    except Exception as error:
      raise UserError(
        f"expected readable arrays at {item}", _first_line(error), remedy
      ) from error


def _num_bytes(leaf: Any) -> int:
  """Returns the size of an array that Orbax's metadata describes."""
  return math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize


def _first_line(error: Exception) -> str:
  lines = str(error).splitlines() or [type(error).__name__]
  return f"got: {lines[0][:200]}"


def _check_fixed(
  restored: Mapping[str, Any], template: Mapping[str, Any]
) -> None:
  """Raises ValueError if leaves below `FIXED` differ from concrete ones."""
  for path, leaf in template.items():
    if not path.startswith(FIXED) or isinstance(leaf, jax.ShapeDtypeStruct):
      continue
    if not np.array_equal(restored[path], leaf):
      if path == "state/key":
        raise ValueError("the run there has another seed")
      raise ValueError(f"{path} is {restored[path]}, expected {leaf}")


def is_version_0_1(folder: Path) -> bool:
  """Returns whether dlcore 0.1 wrote checkpoints in `folder`.

  They can be read, but not continued.
  """
  return any(map(version_0_1.is_version_0_1, folder.iterdir()))


def read_variables(folder: Path, step: int) -> dict[str, Any]:
  """Returns the variables that the model of a checkpoint is evaluated with.

  Returns:
    `{"params": ..., **collections}`, nested dicts of NumPy arrays: averaged
    weights in place of the others, frozen ones merged, no carried state.

  Raises:
    UserError: the step does not exist, or is damaged.
  """
  state = read_checkpoint(folder, step)["state"]
  collections = {**state.get("model_state", {}), **state.get("average", {})}
  params = trees.flatten(state["params"])
  params |= trees.flatten(collections.pop("params", {}))
  params |= trees.flatten(collections.pop("frozen", {}))
  collections.pop("carry", None)
  return {"params": trees.nest(params), **collections}

"""Adapters of a folder for a model: to merge them, or to train them further."""

import dataclasses
import math
from collections.abc import Collection, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from dlcore import layers, trees
from dlcore.errors import UserError
from dlcore.task import Task
from dlcore.transfer import array_checks, load_errors, stacked_blocks
from dlcore.transfer.initialization import initial
from dlcore.transfer.peft.adapter_config import scale
from dlcore.transfer.peft.folder_reading import ScaledUpdate
from dlcore.transfer.peft.model_modules import KERNEL
from dlcore.transfer.stacked_blocks import LeafSlice
from dlcore.typing import Initial, ModelState, Params, PyTree

PARAMS = "params/"


@dataclasses.dataclass(frozen=True)
class Adapters:
  """Adapters of a folder for a model with weights."""

  settings: Mapping[str, Any]
  """Arguments of `tasks.lora` that continue the training."""

  variables: PyTree
  """Variables of the model with the `modules_to_save` of the folder, such as
  the head, and without updates."""

  family: str
  """Family of the names: a key of `FAMILIES`."""

  base_model: str
  """Name or path of the weights that the folder was written for, or ""."""

  updates: Mapping[str, ScaledUpdate]
  """By the path of the kernel in a model without scanned blocks."""

  replaced: tuple[str, ...] = ()
  """Such paths of the arrays of `modules_to_save`."""

  def merged(self) -> PyTree:
    """Returns the variables with the updates added.

    Raises:
      UserError: a value is not finite.
    """
    leaves = trees.flatten(self.variables)
    slices = stacked_blocks.slices(leaves)
    builder = stacked_blocks.LeafBuilder(leaves)
    for path, (update, factor) in self.updates.items():
      part = slices[path]
      kernel = jnp.asarray(leaves[part.leaf][part.index])
      adapter = {k: v for k, v in update._asdict().items() if v is not None}
      whole = layers.merged_kernel(kernel, adapter, factor)
      array_checks.check_finite(path, builder.fill(part, np.asarray(whole)))
    for part in slices.values():
      builder.close(part)
    return trees.restore(self.variables, builder.leaves)

  def initial(self, task: Task) -> Initial:
    """Returns the argument `initial` of `training.fit` for a task.

    Of kernels with a smaller rank than `settings`, the other components of A
    are those of `task.init`, and B is 0.

    Args:
      task: `tasks.lora(task, **settings)`, perhaps with other `dropout`, `base`
        or `trained`.

    Raises:
      UserError: the function that is returned raises it if the task has other
        adapters.
    """
    begin = initial(self.variables, task)

    def replace(
      params: Params, model_state: ModelState
    ) -> tuple[Params, ModelState]:
      params, model_state = begin(params, model_state)
      adapters = self._overlay(trees.flatten(params.get(layers.ADAPTERS, {})))
      return {**params, layers.ADAPTERS: trees.nest(adapters)}, model_state

    return replace

  def _overlay(self, adapters: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the adapters of a task with those of the folder in their place.

    Args:
      adapters: of the task, by path.
    """
    slices = stacked_blocks.slices(trees.flatten(self.variables))
    places = _places(adapters, self.updates, slices)
    rank, target = self.settings["rank"], _target_scale(self.settings)
    new = dict(adapters)
    for path, (update, factor) in self.updates.items():
      place, index = places[path], slices[path].index
      same = math.isclose(factor, target, rel_tol=1e-9)
      b = update.b if same else update.b * (factor / target)
      arrays = {
        "a": update.a,
        "b": np.pad(b, ((0, rank - update.rank), (0, 0))),
      }
      if update.magnitude is not None:
        arrays["magnitude"] = update.magnitude
      elif f"{place}/magnitude" in new:
        raise _differs("dora=False", f"{place}/magnitude")
      for name, array in arrays.items():
        key = f"{place}/{name}"
        _check_adapter(key, new, array, rank, index)
        at = (*index, slice(0, update.rank)) if name == "a" else index
        new[key] = jnp.asarray(new[key]).at[at].set(array)
    return new


def _target_scale(settings: Mapping[str, Any]) -> float:
  stabilized = settings["rank_stabilized"]
  return scale(settings["alpha"], settings["rank"], rank_stabilized=stabilized)


def _places(
  adapters: Mapping[str, Any],
  updates: Collection[str],
  slices: Mapping[str, LeafSlice],
) -> dict[str, str]:
  """Returns the path of the adapter of each kernel in a task.

  Raises:
    UserError: the task has other adapters.
  """
  places = {}
  for path in updates:
    kernel = slices[path].leaf.removeprefix(PARAMS)
    dense = kernel.removesuffix(KERNEL)
    places[path] = dense if f"{dense}/a" in adapters else kernel
  own = {path.removesuffix("/a") for path in adapters if path.endswith("/a")}
  if own != set(places.values()):
    differing = sorted(own ^ set(places.values()))
    raise UserError(
      "expected a task with the adapters of the folder",
      f"got differences: {load_errors.listed(differing)}",
      "make the task by tasks.lora(task, **adapters.settings)",
    )
  return places


def _check_adapter(
  key: str,
  adapters: Mapping[str, Any],
  array: np.ndarray,
  rank: int,
  index: tuple[Any, ...],
) -> None:
  """Checks that an array of a task has the rank of the folder.

  Raises:
    UserError: it has not, or only the folder is of DoRA.
  """
  if key not in adapters:
    raise _differs("dora=True", f"no {key}")
  is_stacked = index != (...,)
  shape = list(adapters[key].shape[1 if is_stacked else 0 :])
  wanted = list(array.shape)
  if key.endswith("/a"):
    wanted[-1] = rank
  if shape != wanted:
    raise _differs(f"{rank=}", f"{key} of shape {shape}, not {wanted}")


def _differs(expected: str, got: str) -> UserError:
  return UserError(
    f"expected a task with {expected}, as in the folder",
    f"got {got}",
    "make the task by tasks.lora(task, **adapters.settings)",
  )

"""Adapters of PEFT for a model: to merge them, or to train them further."""

import dataclasses
import math
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from dlcore import layers, trees
from dlcore.errors import UserError
from dlcore.task import Task
from dlcore.transfer import (
  argument_checks,
  array_checks,
  load_errors,
  stacked_blocks,
)
from dlcore.transfer.initialization import initial
from dlcore.transfer.peft import reading
from dlcore.transfer.peft.adapter_config import scale
from dlcore.transfer.peft.model_modules import KERNEL
from dlcore.transfer.peft.reading import Contents, ScaledUpdate
from dlcore.transfer.stacked_blocks import LeafSlice
from dlcore.typing import ModelState, Params, PyTree

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

  def initial(
    self, task: Task
  ) -> Callable[[Params, ModelState], tuple[Params, ModelState]]:
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


def load_adapters(
  folder: str | Path, model: Any, variables: PyTree, *, family: str = ""
) -> Adapters:
  """Reads a folder of PEFT for a model whose weights are loaded.

  The folder has adapter_config.json and adapter_model.safetensors, with
  adapters of LoRA (Hu et al. 2021, arXiv:2106.09685), perhaps with rsLoRA or
  DoRA. They are merged into the weights:

    adapters = transfer.load_adapters(folder, model, variables)
    variables = adapters.merged()

  or trained further, without any other parameter:

    task = tasks.lora(task, **adapters.settings)
    result = training.fit(
      task, tx, train, steps=steps, initial=adapters.initial(task)
    )

  Adapters of several ranks or scales become those of the largest rank and of
  one scale, with the same outputs. An update of a layer that is several layers
  here, such as GPT-2's query, key and value, becomes one update of each; they
  are trained independently.

  Args:
    folder: a folder, or `hf:org/name`.
    model: the module.
    variables: its variables, with the weights that the adapters belong to.
    family: a key of `FAMILIES`, by default the one that matches most names.

  Returns:
    The adapters, with the settings of `tasks.lora`.

  Raises:
    UserError: the folder cannot be read or fails a check, the adapter is of
      another type than LoRA or has a variant that dlcore lacks, an array has no
      place in the model, another shape or rank, or a value that is not finite.
  """
  signature = "transfer.load_adapters(folder, model, variables)"
  contents, slices = _read(folder, model, variables, family, signature)
  leaves = trees.flatten(variables)
  builder = stacked_blocks.LeafBuilder(leaves)
  for path, array in contents.whole.items():
    array_checks.check_finite(path, builder.fill(slices[path], array))
  for part in slices.values():
    builder.close(part)
  return Adapters(
    settings=_settings(contents, slices),
    variables=trees.restore(variables, builder.leaves),
    family=contents.family,
    base_model=contents.config.base_model,
    updates=contents.updates,
    replaced=tuple(contents.whole),
  )


def adapter_settings(
  folder: str | Path, model: Any, variables: PyTree, *, family: str = ""
) -> dict[str, Any]:
  """Returns `Adapters.settings` of a folder without loading it.

  Args:
    folder: see `load_adapters`.
    model: see `load_adapters`.
    variables: variables of the model, or their shapes.
    family: see `load_adapters`.

  Raises:
    UserError: see `load_adapters`.
  """
  signature = "transfer.adapter_settings(folder, model, variables)"
  return _settings(*_read(folder, model, variables, family, signature))


def _read(
  folder: str | Path, model: Any, variables: PyTree, family: str, signature: str
) -> tuple[Contents, dict[str, LeafSlice]]:
  argument_checks.check_path("folder", folder, signature)
  argument_checks.check_model(model, signature)
  argument_checks.check_variables(variables, signature)
  slices = stacked_blocks.slices(trees.flatten(variables))
  return reading.read(folder, model, slices, family), slices


def _settings(
  contents: Contents, slices: Mapping[str, LeafSlice]
) -> dict[str, Any]:
  """Returns the arguments of `tasks.lora`."""
  config, updates = contents.config, contents.updates
  rank = max(1, *(x.update.rank for x in updates.values()))
  scales = [x.scale for x in updates.values()]
  shared = scales[0]
  if not all(math.isclose(x, shared, rel_tol=1e-9) for x in scales):
    shared = scale(
      config.alpha, config.rank, rank_stabilized=config.rank_stabilized
    )
  alpha = shared / scale(1.0, rank, rank_stabilized=config.rank_stabilized)
  paths = {part.leaf.removeprefix(PARAMS) for part in slices.values()}
  adapted = {slices[path].leaf.removeprefix(PARAMS) for path in updates}
  trained = {
    slices[path].leaf.removeprefix(PARAMS)
    for path in contents.whole
    if path.startswith(PARAMS)
  }
  return {
    "pattern": exact_pattern(adapted, paths),
    "rank": rank,
    # 6 * (1 / 6) would differ from 1.
    "alpha": float(f"{alpha:.12g}"),
    "trained": exact_pattern(trained, paths),
    "dropout": config.dropout,
    "rank_stabilized": config.rank_stabilized,
    "dora": config.dora,
  }


def _target_scale(settings: Mapping[str, Any]) -> float:
  stabilized = settings["rank_stabilized"]
  return scale(settings["alpha"], settings["rank"], rank_stabilized=stabilized)


def exact_pattern(chosen: Collection[str], paths: Collection[str]) -> str:
  """Returns a regular expression that matches exactly the chosen paths.

  Numbers become `\\d+` if all paths that differ in them alone are chosen.

  Args:
    chosen: some of the paths; for none the expression is "".
    paths: all paths.
  """
  number = re.compile(r"\d+")

  def template(path: str) -> str:
    return number.sub(lambda _: r"\d+", re.escape(path))

  incomplete = {template(path) for path in paths if path not in chosen}
  parts = {
    re.escape(path) if template(path) in incomplete else template(path)
    for path in chosen
  }
  return f"^(?:{'|'.join(sorted(parts))})$" if parts else ""


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

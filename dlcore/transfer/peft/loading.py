"""Loads folders of PEFT for a model."""

import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from dlcore import trees
from dlcore.transfer import argument_checks, array_checks, stacked_blocks
from dlcore.transfer.peft import folder_reading
from dlcore.transfer.peft.adapter_config import scale
from dlcore.transfer.peft.folder_reading import Contents
from dlcore.transfer.peft.loaded_adapters import PARAMS, Adapters
from dlcore.transfer.stacked_blocks import LeafSlice
from dlcore.typing import PyTree


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
  return folder_reading.read(folder, model, slices, family), slices


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
    "pattern": _exact_pattern(adapted, paths),
    "rank": rank,
    # 6 * (1 / 6) would differ from 1.
    "alpha": float(f"{alpha:.12g}"),
    "trained": _exact_pattern(trained, paths),
    "dropout": config.dropout,
    "rank_stabilized": config.rank_stabilized,
    "dora": config.dora,
  }


def _exact_pattern(chosen: Collection[str], paths: Collection[str]) -> str:
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

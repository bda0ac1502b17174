"""Writes the adapters of a run as a folder of PEFT."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from dlcore import layers, trees
from dlcore.errors import UserError, check_pattern
from dlcore.transfer import (
  argument_checks,
  published_json,
  save_checks,
  saving,
  stacked_blocks,
  target_units,
)
from dlcore.transfer.families import name_rules
from dlcore.transfer.io import files, safetensors
from dlcore.transfer.peft import (
  adapter_config,
  current_names,
  layouts,
  model_modules,
  module_names,
  task_updates,
  written_config,
)
from dlcore.transfer.peft.layouts import Module, Update
from dlcore.transfer.published_json import PublishedJson
from dlcore.transfer.selection import SelectedFamily
from dlcore.transfer.target_units import TargetUnits
from dlcore.typing import Params, PyTree

ARRAYS = "adapter_model.safetensors"
HEAD = r"^params/head/"

PREFIX = "base_model.model."
"""Start of PEFT's names of arrays."""


class Contents(NamedTuple):
  """The modules of a folder."""

  adapters: Mapping[str, Mapping[str, np.ndarray]]
  """PEFT's arrays by their ends, by module."""

  whole: tuple[str, ...]
  """Modules that are written as a whole."""

  arrays: Mapping[str, np.ndarray]
  """Arrays of those modules by published name."""

  others: tuple[str, ...]
  """Modules without an adapter."""

  is_transposed: bool
  """Whether an adapted module has a weight `[in, out]`."""


def save_adapters(
  folder: str | Path,
  model: Any,
  params: Params,
  variables: PyTree,
  *,
  alpha: float = 16.0,
  rank_stabilized: bool = False,
  dropout: float = 0.0,
  base_model: str = "",
  whole: str = "",
  units: TargetUnits | None = None,
  family: str = "",
  published: PublishedJson | None = None,
) -> dict[str, Any]:
  """Writes the adapters of `tasks.lora` as a folder that PEFT loads.

  The folder has adapter_model.safetensors and adapter_config.json, for
  `peft.PeftModel.from_pretrained(base_model, folder)`. Names are those of the
  family. Updates of query, key and value that are one layer in PyTorch become
  one update of it, whose rank is the sum of theirs. Other parameters in
  `params`, such as the head, become PEFT's `modules_to_save`: each module with
  such a parameter is written as a whole, with merged updates.

    task = tasks.lora(task, rank=4, alpha=8.0, trained="^head/")
    state = training.fit(task, tx, train, steps=steps).best
    variables = tasks.variables(task, state)
    transfer.save_adapters(folder, model, state.params, variables, alpha=8.0)

  Args:
    folder: created if it does not exist.
    model: the module.
    params: `params` of the task, with the adapters at the key "adapters".
    variables: variables of the task, with merged updates.
    alpha: of the scale of the updates, see `tasks.lora`.
    rank_stabilized: see `tasks.lora`.
    dropout: see `tasks.lora`.
    base_model: folder or name of the weights that the adapters belong to, such
      as "hf:org/name".
    whole: regex over the paths of variables; modules of matching arrays are
      written as a whole too, such as a pooler that was initialized at random.
    units: mean and standard deviation of the target of a regression. The head
      is written as a whole, and predicts the target in its own units;
      `load_adapters` undoes it.
    family: a key of `FAMILIES`, by default as in `save_pretrained`.
    published: the JSON files of the weights, see `save_pretrained`.

  Returns:
    The content of adapter_config.json.

  Raises:
    UserError: there are no adapters, PEFT cannot express one, the family has no
      name for an array, a value is not finite, or the folder is not writable.
  """
  signature = "transfer.save_adapters(folder, model, params, variables)"
  argument_checks.check_path("folder", folder, signature)
  argument_checks.check_model(model, signature)
  argument_checks.check_variables(variables, signature)
  argument_checks.check_published(published or {})
  check_pattern("whole", whole)
  if not isinstance(params, Mapping) or not params.get(layers.ADAPTERS):
    raise UserError(
      f"expected params with the key {layers.ADAPTERS!r}, those of tasks.lora",
      "got params without adapters",
      f"call {signature}",
    )
  if units:
    variables = target_units.in_units(variables, units)
    whole = "|".join(filter(None, [whole, HEAD]))
  leaves = trees.flatten(variables)
  arrays = stacked_blocks.unstack(leaves)
  if published is None:
    published = published_json.remembered(model)
  name = family or saving.family_of_arrays(model, published, arrays)
  selected = model_modules.select(name, model, arrays)
  save_checks.check_all_named(selected, arrays)
  contents = _contents(selected, leaves, arrays, params, whole)
  entries = written_config.entries(
    selected.family.describe(selected.family.match_arrays(model, arrays)),
    {name: layouts.rank_of(x) for name, x in contents.adapters.items()},
    contents.whole,
    contents.others,
    scale=adapter_config.scale(
      alpha,
      task_updates.rank(params[layers.ADAPTERS]),
      rank_stabilized=rank_stabilized,
    ),
    rank_stabilized=rank_stabilized,
    is_transposed=contents.is_transposed,
    base_model=base_model,
  ) | {
    "lora_dropout": float(dropout),
    "use_dora": any(layouts.MAGNITUDE in x for x in contents.adapters.values()),
  }
  _write(Path(folder), contents, entries, units)
  return entries


def _contents(
  selected: SelectedFamily,
  leaves: Mapping[str, Any],
  arrays: Mapping[str, np.ndarray],
  params: Params,
  whole: str,
) -> Contents:
  """Returns the arrays to write.

  Args:
    selected: the family and its name rules for the model.
    leaves: variables by path.
    arrays: the same without scanned blocks.
    params: see `save_adapters`.
    whole: see `save_adapters`.
  """
  updates = task_updates.updates(params[layers.ADAPTERS], leaves, arrays)
  own = {key: x for key, x in params.items() if key != layers.ADAPTERS}
  paths = set(stacked_blocks.unstack(trees.flatten({"params": own})))
  paths |= {path for path in arrays if whole and re.search(whole, path)}
  renamed = name_rules.save(selected.rules, arrays)
  renamed |= saving.batch_counters(renamed)
  known = model_modules.known_modules(renamed)
  outer = model_modules.whole_modules(selected, sorted(paths))

  def is_whole(name: str) -> bool:
    return any(module_names.contains(name, other) for other in outer)

  shapes = {path: array.shape for path, array in arrays.items()}
  modules = model_modules.modules(selected, shapes)
  by_path = {p: name for name, m in modules.items() for p in m.paths}
  kept = {p: x for p, x in updates.items() if not is_whole(by_path.get(p, ""))}
  model_modules.check_adaptable(modules, kept)
  adapted = {by_path[path]: modules[by_path[path]] for path in kept}
  if not adapted:
    raise UserError(
      "expected adapters of modules that are not trained as a whole",
      f"got none: {', '.join(outer)} contain them",
      model_modules.MERGE,
    )

  def current(name: str) -> str:
    return current_names.current(selected.name, name)

  others = sorted(map(current, known - set(adapted)))
  for name in outer:
    model_modules.check_unambiguous(current(name), others)
  return Contents(
    {current(n): _torch_arrays(m, kept, arrays) for n, m in adapted.items()},
    tuple(map(current, outer)),
    {current(name): x for name, x in renamed.items() if is_whole(name)},
    tuple(others),
    any(module.is_transposed for module in adapted.values()),
  )


def _torch_arrays(
  module: Module,
  updates: Mapping[str, Update],
  arrays: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
  norms = [
    np.asarray(layers.column_norms(jnp.asarray(arrays[path])))
    if path not in updates
    else None
    for path in module.paths
  ]
  own = [updates.get(path) for path in module.paths]
  return layouts.to_torch(module, own, norms)


def _write(
  folder: Path,
  contents: Contents,
  entries: Mapping[str, Any],
  units: TargetUnits | None,
) -> None:
  arrays = {
    f"{PREFIX}{name}.{end}": array
    for name, own in contents.adapters.items()
    for end, array in own.items()
  }
  arrays |= {f"{PREFIX}{name}": x for name, x in contents.arrays.items()}
  save_checks.check_values(arrays)
  content = saving.encoded("adapter_config", entries)
  safetensors.write(folder / ARRAYS, arrays, {"format": "pt"})
  files.write(folder / adapter_config.FILE, content)
  target = folder / target_units.FILE
  if units:
    entry = {target_units.ENTRY: units._asdict()}
    files.write(target, saving.encoded("units", entry))
  elif not target.is_dir():
    target.unlink(missing_ok=True)  # Of an earlier export.

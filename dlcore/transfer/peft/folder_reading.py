"""Reads a folder of PEFT for a model."""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlcore.errors import UserError, nearest
from dlcore.filesystem import quoted
from dlcore.transfer import array_checks, load_errors, selection
from dlcore.transfer.peft import (
  adapter_files,
  current_names,
  layouts,
  model_modules,
  module_names,
  whole_modules,
)
from dlcore.transfer.peft.adapter_config import AdapterConfig
from dlcore.transfer.peft.layouts import Module, Update
from dlcore.transfer.selection import SelectedFamily
from dlcore.transfer.stacked_blocks import LeafSlice

PREFIX = "base_model.model."
ENDS = {
  layouts.A: layouts.A,
  layouts.B: layouts.B,
  layouts.MAGNITUDE: layouts.MAGNITUDE,
  f"{layouts.MAGNITUDE}.weight": layouts.MAGNITUDE,
}
"""Keys of the arrays of a module by the ends of their names."""

EMBEDDING = "lora_embedding_"

Modules = Mapping[str, Mapping[str, np.ndarray]]
"""Arrays by their keys, by module."""


class ScaledUpdate(NamedTuple):
  """An update, and its factor."""

  update: Update
  scale: float


class Contents(NamedTuple):
  """The content of a folder, by the paths of a model without scanned blocks."""

  config: AdapterConfig
  family: str
  updates: Mapping[str, ScaledUpdate]
  """By path of the kernel."""

  whole: Mapping[str, np.ndarray]
  """Arrays of `modules_to_save` in the model's layout."""


def read(
  folder: str | Path,
  model: Any,
  slices: Mapping[str, LeafSlice],
  family: str = "",
) -> Contents:
  """Reads and checks a folder of PEFT.

  Args:
    folder: see `load_adapters`.
    model: the module.
    slices: arrays of the model by path.
    family: see `load_adapters`.

  Raises:
    UserError: see `load_adapters`.
  """
  config, arrays, units = adapter_files.open_folder(folder)
  adapters, whole = _sorted(arrays, folder)
  renamed = {
    current_names.published(model, name): name
    for name in (*(f"{n}{model_modules.WEIGHT}" for n in adapters), *whole)
  }
  names = list(renamed)
  if family:
    selected = model_modules.select(family, model, slices)
  else:
    selected = selection.infer(None, names, model, slices)
    selected = model_modules.select(selected.name, model, slices)
  sources = {
    name: renamed[source]
    for name, source in selection.source_names(selected, names).items()
  }
  shapes = {path: part.shape for path, part in slices.items()}
  modules = model_modules.modules(selected, shapes)
  by_source = _by_source(modules, sources, adapters)
  saved = whole_modules.read(selected, whole, sources, slices)
  whole_modules.check_complete(selected, config, saved, slices)
  if all(name == source for name, source in renamed.items()):
    _check_targets(selected, config, modules, by_source.values(), saved)
  updates = _updates(config, adapters, by_source)
  if both := sorted(updates.keys() & saved.keys()):
    raise UserError(
      "expected modules with an adapter or in modules_to_save",
      f"got both for {load_errors.listed(both)}",
      "download or write the folder again",
    )
  if units:
    saved = {p: units.from_units(p, array) for p, array in saved.items()}
  return Contents(config, selected.name, updates, saved)


def _sorted(
  arrays: Mapping[str, np.ndarray], folder: Any
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, np.ndarray]]:
  """Returns the arrays of adapters by module, and the others by name.

  Raises:
    UserError: a name is not one of PEFT, or there is no adapter.
  """
  adapters: dict[str, dict[str, np.ndarray]] = {}
  whole = {}
  for full in arrays:
    name = full.removeprefix(PREFIX)
    if name == full or EMBEDDING in name:
      raise UserError(
        f"expected names such as {PREFIX}MODULE.{layouts.A} in {folder}",
        f"got {quoted(full)}",
        "merge adapters of embeddings with PEFT"
        if EMBEDDING in name
        else "write the folder with PEFT's save_pretrained",
      )
    array = arrays[full]
    for end, key in ENDS.items():
      if name.endswith(f".{end}"):
        module = name.removesuffix(f".{end}")
        adapters.setdefault(module, {})[key] = array
        break
    else:
      whole[name] = array
  if not adapters:
    raise UserError(
      f"expected adapters of some modules in {folder}",
      f"got {len(whole)} other arrays",
      "train the adapters, or load other weights by transfer.load_pretrained",
    )
  return adapters, whole


def _by_source(
  modules: Mapping[str, Module],
  sources: Mapping[str, str],
  adapters: Modules,
) -> dict[str, Module]:
  """Returns the layers of the model by their names in the folder.

  Raises:
    UserError: an adapted module is not one of the model.
  """
  weight = model_modules.WEIGHT
  names = {
    source.removesuffix(weight): name.removesuffix(weight)
    for name, source in sources.items()
  }
  unknown = [n for n in adapters if names.get(n) not in modules]
  if unknown:
    raise UserError(
      f"expected adapters of modules of the model, {len(modules)} in all",
      f"got {load_errors.listed([quoted(name) for name in unknown])}",
      nearest(unknown[0][:200], list(modules)[:400]),
    )
  by_source = {name: modules[names[name]] for name in adapters}
  for name, module in by_source.items():
    if reason := layouts.unsupported(module):
      raise UserError(
        "expected adapters of dense layers and convolutions",
        f"got one of {quoted(name)}: {reason}",
        "merge it with PEFT",
      )
  return by_source


def _updates(
  config: AdapterConfig, adapters: Modules, modules: Mapping[str, Module]
) -> dict[str, ScaledUpdate]:
  """Returns the updates by path.

  Raises:
    UserError: an array is missing, additional, of another shape or dtype, or
      not finite.
  """
  updates = {}
  for name, arrays in adapters.items():
    rank = config.rank_of(name)
    shapes = layouts.expected_shapes(modules[name], rank, dora=config.dora)
    _check_shapes(name, shapes, arrays)
    for key, array in arrays.items():
      array_checks.check_dtype(f"{name}.{key}", array.dtype, np.dtype("f4"))
      array_checks.check_finite(f"{name}.{key}", array)
    scale = config.scale_of(name, rank)
    own = layouts.from_torch(modules[name], arrays)
    for path, update in zip(modules[name].paths, own, strict=True):
      if update is not None:
        updates[path] = ScaledUpdate(update, scale)
  return updates


def _check_shapes(
  name: str,
  expected: Mapping[str, tuple[int, ...]],
  arrays: Mapping[str, np.ndarray],
) -> None:
  for key in (*expected, *arrays):
    shape = expected.get(key)
    actual = arrays[key].shape if key in arrays else None
    if shape != actual:
      raise UserError(
        f"expected the shape {list(shape)} of {quoted(f'{name}.{key}')}, as "
        "adapter_config.json and the model require"
        if shape
        else "expected use_dora=true with a magnitude",
        f"got {list(actual)}"
        if actual is not None and shape
        else f"got {'no such array' if shape else quoted(f'{name}.{key}')}",
        "choose the adapter of this model, or download it again",
      )


def _check_targets(
  selected: SelectedFamily,
  config: AdapterConfig,
  modules: Mapping[str, Module],
  adapted: Iterable[Module],
  whole: Collection[str],
) -> None:
  """Checks that all modules that `target_modules` names have an adapter.

  Layers that only some of the published models have may lack one.

  Raises:
    UserError: one has none.
  """
  family = selected.family
  optional = re.compile(
    "|".join(filter(None, [family.optional, family.output_layer]))
  )
  present = {module.name for module in adapted}
  missing = [
    name
    for name, module in modules.items()
    if name not in present
    and not config.has_exceptions
    and any(module_names.is_end(end, name) for end in config.target_modules)
    and not any(p in whole or optional.search(p) for p in module.paths)
  ]
  if missing:
    raise UserError(
      "expected an adapter of each module that target_modules names",
      f"got none of {load_errors.listed(missing)}",
      "download or write the folder again",
    )

"""Writes weights in published names."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlcore import trees
from dlcore.errors import UserError
from dlcore.filesystem import first_line
from dlcore.transfer import (
  argument_checks,
  published_json,
  save_checks,
  selection,
  stacked_blocks,
  target_units,
)
from dlcore.transfer.families import name_rules, own
from dlcore.transfer.families.own import OWN
from dlcore.transfer.io import files, safetensors, sources
from dlcore.transfer.published_json import PublishedJson
from dlcore.transfer.selection import SelectedFamily
from dlcore.typing import PyTree


def save_pretrained(
  folder: str | Path,
  model: Any,
  variables: PyTree,
  *,
  config: Mapping[str, Any] | None = None,
  channels: int | None = None,
  family: str = "",
  published: PublishedJson | None = None,
) -> str:
  """Writes `model.safetensors` and `config.json` in published names.

  Weights that were loaded from float32 are written bit for bit. Entries of the
  config.json that came with them are kept unless they contradict the model, and
  so is their generation_config.json. No file is written if a check fails.

  Args:
    folder: created if it does not exist.
    model: the module.
    variables: variables of the module.
    config: additional entries of config.json. For the family "dlcore"
      `{"model": {"name", "num_classes", ...}, "input": shape without B}`, which
      `from_pretrained` requires. With `"target_normalization"`, the mean and
      the standard deviation that `tasks.regression` has, the output layer that
      is written predicts the target in its own units; loading undoes it.
    channels: number of image channels, which must be that of the first
      convolution.
    family: a key of `FAMILIES`, or "dlcore" for dlcore's own paths. By default
      that of the published config.json, or `default_family(model)`.
    published: the JSON files that came with the weights, by file name, see
      `Report.published`. By default those that `from_pretrained` read for this
      `model`. Those of another family are not kept.

  Returns:
    The name of the family.

  Raises:
    UserError: the family has no such model, or no name for an array; an array
      of the model is missing, not finite, or of another shape or dtype;
      `config` contradicts the model, or an entry is not JSON; or the folder is
      not writable.
  """
  signature = "transfer.save_pretrained(folder, model, variables)"
  argument_checks.check_path("folder", folder, signature)
  argument_checks.check_model(model, signature)
  argument_checks.check_variables(variables, signature)
  argument_checks.check_entries("config", config or {})
  argument_checks.check_published(published or {})
  arrays = stacked_blocks.unstack(trees.flatten(variables))
  if published is None:
    published = published_json.remembered(model)
  name = family or family_of_arrays(model, published, arrays)
  selected = selection.by_name(name, model, arrays)
  if _family_of(published) != name:
    published = {}
  model = selected.family.match_arrays(model, arrays)
  entries = _entries(selected, model, arrays, published) | dict(config or {})
  save_checks.check_family(name, entries["model_type"])
  save_checks.check_all_named(selected, arrays)
  if name != OWN or own.is_complete(entries):
    names = [
      n for path in arrays for n in name_rules.names(selected.rules, path)
    ]
    save_checks.check_model(model, arrays, selected.family, entries, names)
  if name != OWN and channels is not None:
    save_checks.check_channels(selected.family, entries, channels)
  if units := target_units.read(entries):
    arrays = units.to_units(arrays)
  renamed = name_rules.save(selected.rules, arrays)
  renamed |= batch_counters(renamed)
  entries = published_json.with_dtype(entries, renamed) | dict(config or {})
  save_checks.check_values(renamed)
  contents = {sources.CONFIG: encoded("config", entries)}
  if generation := published.get(sources.GENERATION):
    contents[sources.GENERATION] = encoded("published", generation)
  path = Path(folder)
  # Transformers rejects files without the metadata of PyTorch.
  safetensors.write(path / sources.SINGLE, renamed, {"format": "pt"})
  for file, content in contents.items():
    files.write(path / file, content)
  return name


def encoded(argument: str, entries: Mapping[str, Any]) -> bytes:
  """Returns the content of a JSON file that the loader accepts.

  Raises:
    UserError: a value of the argument is not JSON, such as NaN or an array.
  """
  try:
    text = json.dumps(entries, indent=2, sort_keys=True, allow_nan=False)
  except (TypeError, ValueError) as error:
    raise UserError(
      f"expected JSON in {argument}: strings, finite numbers, lists, objects",
      f"got an error: {first_line(error)}",
      "convert or remove the value",
    ) from error
  return f"{text}\n".encode()


def _entries(
  selected: SelectedFamily,
  model: Any,
  arrays: Mapping[str, np.ndarray],
  published: PublishedJson,
) -> dict[str, Any]:
  """Returns the config.json of a model, with the published entries."""
  name, family, _ = selected
  entries = {"model_type": name, **family.describe(model)}
  save_checks.check_family(name, entries["model_type"])
  if name == OWN:
    return {**published_json.merge_own(model, published, family), **entries}
  entries = published_json.merge(entries, published, family)
  if not target_units.has_one_output(arrays):
    entries.pop(target_units.ENTRY, None)
  return dict(family.describe_inputs(entries, arrays))


def batch_counters(names: Iterable[str]) -> dict[str, np.ndarray]:
  """Returns the `num_batches_tracked` that PyTorch's batch norms require.

  They have no effect on a batch norm with a momentum, so they are 0.
  """
  suffix = ".running_var"
  return {
    f"{name.removesuffix(suffix)}.num_batches_tracked": np.zeros((), np.int64)
    for name in names
    if name.endswith(suffix)
  }


def default_family(model: Any, published: PublishedJson | None = None) -> str:
  """Returns the first family that can express a model, else "dlcore".

  Args:
    model: the module.
    published: the JSON files that came with the weights, whose family is first.
  """
  argument_checks.check_model(model, "transfer.default_family(model)")
  return family_of_arrays(model, published or {}, {})


def family_of_arrays(
  model: Any, published: PublishedJson, arrays: Mapping[str, np.ndarray]
) -> str:
  """Returns the default family of a model with the fields that arrays imply.

  Args:
    model: the module.
    published: the JSON files that came with the weights, whose family is first.
    arrays: the model's arrays by path.
  """
  first = _family_of(published)
  if first == OWN:
    return OWN
  names = [first] if first in selection.FAMILIES else []
  for name in (*names, *selection.candidate_names(model)):
    family = selection.FAMILIES[name]
    try:
      family.describe(family.match_arrays(model, arrays))
    except UserError:
      continue
    return name
  return OWN


def _family_of(published: PublishedJson) -> str | None:
  """Returns the family that the published config.json names, or None."""
  return selection.config_family(published.get(sources.CONFIG))

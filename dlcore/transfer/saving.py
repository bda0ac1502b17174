"""Writes weights in published names."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlcore import trees
from dlcore.errors import UserError
from dlcore.transfer import published_json, selection, stacked_blocks
from dlcore.transfer.families import Family, name_rules
from dlcore.transfer.families.own import OWN
from dlcore.transfer.io import files, safetensors, sources
from dlcore.transfer.published_json import Published
from dlcore.typing import PyTree


def save_pretrained(
  folder: str | Path,
  model: Any,
  variables: PyTree,
  *,
  config: Mapping[str, Any] | None = None,
  channels: int | None = None,
  family: str = "",
  published: Published | None = None,
) -> str:
  """Writes `model.safetensors` and `config.json` in published names.

  Weights that were loaded from float32 are written bit for bit. Entries of the
  config.json that came with them are kept unless they contradict the model, and
  so is their generation_config.json.

  Args:
    folder: created if it does not exist.
    model: the module.
    variables: variables of the module.
    config: additional entries of config.json. For the family "dlcore"
      `{"model": {"name", "num_classes", ...}, "input": shape}`.
    channels: number of image channels, by default that of the first
      convolution.
    family: a key of `FAMILIES`, or "dlcore" for dlcore's own paths. By default
      that of the published config.json, or `default_family(model)`.
    published: the JSON files that came with the weights, by file name, see
      `Report.published`. By default those that `from_pretrained` read for this
      `model`. Those of another family are not kept.

  Returns:
    The name of the family.

  Raises:
    UserError: the family has no such model, or no name for an array, or the
      folder is not writable.
  """
  arrays = stacked_blocks.unstack(trees.flatten(variables))
  if published is None:
    published = published_json.remembered(model)
  model = _with_image_size(model, arrays)
  name = family or default_family(model, published)
  naming = selection.by_name(name, model, arrays)
  if _family_of(published) != name:
    published = {}
  entries = _entries(name, model, published, naming.family)
  channels = _num_channels(arrays) if channels is None else channels
  if channels is not None and name != OWN:
    entries = _with_channels(entries, channels, naming.family)
  try:
    renamed = name_rules.save(naming.rules, arrays)
  except ValueError as error:
    raise UserError(
      f"expected a model whose arrays all have names in {name}",
      f"got a {type(model).__name__}: {error}",
      f"choose family={OWN!r}",
    ) from error
  renamed |= _batch_counters(renamed)
  entries = published_json.with_dtype(entries, renamed) | dict(config or {})
  path = Path(folder)
  # Transformers rejects files without the metadata of PyTorch.
  safetensors.write(path / sources.SINGLE, renamed, {"format": "pt"})
  _write_json(path / sources.CONFIG, entries)
  if generation := published.get(sources.GENERATION):
    _write_json(path / sources.GENERATION, generation)
  return name


def _write_json(path: Path, entries: Mapping[str, Any]) -> None:
  text = json.dumps(entries, indent=2, sort_keys=True)
  files.write(path, f"{text}\n".encode())


def _entries(
  name: str, model: Any, published: Published, family: Family
) -> dict[str, Any]:
  """Returns the config.json of a model, with the published entries."""
  entries = {"model_type": name, **family.describe(model)}
  _check_family(name, entries["model_type"])
  if name == OWN:
    return {**published_json.merge_own(model, published, family), **entries}
  return published_json.merge(entries, published, family)


def _check_family(name: str, model_type: str) -> None:
  """Checks that a family describes a model under its own name.

  Raises:
    UserError: the model belongs to another family.
  """
  if model_type != name:
    raise UserError(
      f"expected a model of the family {name!r}",
      f"got one of the family {model_type!r}",
      f"choose family={model_type!r}",
    )


FIRST_CONVOLUTIONS = ("patches", "stem/conv", "stem_conv", "conv_0")
"""Paths of the layers that see the images."""


def _num_channels(arrays: Mapping[str, np.ndarray]) -> int | None:
  """Returns the number of image channels, None without images."""
  paths = (f"params/{layer}/kernel" for layer in FIRST_CONVOLUTIONS)
  return next((arrays[p].shape[2] for p in paths if p in arrays), None)


def _with_image_size(model: Any, arrays: Mapping[str, np.ndarray]) -> Any:
  """Returns a ViT with the image size of its position table.

  Applies to a ViT without an image size and a table of square images. Other
  models are returned unchanged.
  """
  table = arrays.get("params/position")
  if getattr(model, "image_size", None) != 0 or table is None:
    return model
  patches = table.shape[1] - (model.pool == "class")
  side = math.isqrt(patches)
  if side**2 != patches:
    return model
  return model.clone(image_size=side * model.patch_size)


def _with_channels(
  entries: Mapping[str, Any], channels: int, family: Family
) -> dict[str, Any]:
  """Returns a config.json of transformers or timm for a number of channels."""
  if family.inputs(entries)[0].shape[-1] == channels:
    return dict(entries)
  if "architecture" in entries:
    arguments = {**entries.get("model_args", {}), "in_chans": channels}
    return {**entries, "model_args": arguments}
  return {**entries, "num_channels": channels}


def _batch_counters(names: Iterable[str]) -> dict[str, np.ndarray]:
  """Returns the `num_batches_tracked` that PyTorch's batch norms require.

  They have no effect on a batch norm with a momentum, so they are 0.
  """
  suffix = ".running_var"
  return {
    f"{name.removesuffix(suffix)}.num_batches_tracked": np.zeros((), np.int64)
    for name in names
    if name.endswith(suffix)
  }


def default_family(model: Any, published: Published | None = None) -> str:
  """Returns the first family that can express a model, else "dlcore".

  Args:
    model: the module.
    published: the JSON files that came with the weights, whose family is first.
  """
  first = _family_of(published or {})
  if first == OWN:
    return OWN
  names = [first] if first in selection.FAMILIES else []
  for name in (*names, *selection.candidate_names(model)):
    try:
      selection.FAMILIES[name].describe(model)
    except UserError:
      continue
    return name
  return OWN


def _family_of(published: Published) -> str | None:
  """Returns the family that the published config.json names, or None."""
  return selection.config_family(published.get(sources.CONFIG))

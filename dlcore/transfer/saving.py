"""Writes weights in published names."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlcore import trees
from dlcore.errors import UserError
from dlcore.transfer import selection, stacked_blocks
from dlcore.transfer.families import name_rules
from dlcore.transfer.families.own import OWN
from dlcore.transfer.io import files, safetensors, sources
from dlcore.typing import PyTree


def save_pretrained(
  folder: str | Path,
  model: Any,
  variables: PyTree,
  *,
  config: Mapping[str, Any] | None = None,
  channels: int | None = None,
  family: str = "",
) -> str:
  """Writes `model.safetensors` and `config.json` in published names.

  Weights that were loaded from float32 are written bit for bit.

  Args:
    folder: created if it does not exist.
    model: the module.
    variables: variables of the module.
    config: additional entries of config.json. For the family "dlcore"
      `{"model": {"name", "num_classes", ...}, "input": shape}`.
    channels: number of image channels, by default that of the first
      convolution.
    family: a key of `FAMILIES`, or "dlcore" for dlcore's own paths. By default
      `default_family(model)`.

  Returns:
    The name of the family.

  Raises:
    UserError: the family has no such model, or no name for an array, or the
      folder is not writable.
  """
  arrays = stacked_blocks.unstack(trees.flatten(variables))
  model = _with_image_size(model, arrays)
  name = family or default_family(model)
  naming = selection.by_name(name, model, arrays)
  entries = {"model_type": name, **naming.family.describe(model)}
  _check_family(name, entries["model_type"])
  channels = _num_channels(arrays) if channels is None else channels
  if channels != 3 and name != OWN:
    entries = _with_channels(entries, channels)
  try:
    published = name_rules.save(naming.rules, arrays)
  except ValueError as error:
    raise UserError(
      f"expected a model whose arrays all have names in {name}",
      f"got a {type(model).__name__}: {error}",
      f"choose family={OWN!r}",
    ) from error
  published |= _batch_counters(published)
  path = Path(folder)
  # Transformers rejects files without the metadata of PyTorch.
  safetensors.write(path / sources.SINGLE, published, {"format": "pt"})
  entries |= config or {}
  text = json.dumps(entries, indent=2, sort_keys=True)
  files.write(path / sources.CONFIG, f"{text}\n".encode())
  return name


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


def _num_channels(arrays: Mapping[str, np.ndarray]) -> int:
  """Returns the number of image channels, 3 without images."""
  paths = (f"params/{layer}/kernel" for layer in FIRST_CONVOLUTIONS)
  return next((arrays[path].shape[2] for path in paths if path in arrays), 3)


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


def _with_channels(entries: Mapping[str, Any], channels: int) -> dict[str, Any]:
  """Adds the number of channels to a config.json of transformers or timm."""
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


def default_family(model: Any) -> str:
  """Returns the first family that can express a model, else "dlcore"."""
  for name in selection.candidate_names(model):
    try:
      selection.FAMILIES[name].describe(model)
    except UserError:
      continue
    return name
  return OWN

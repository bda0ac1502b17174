"""Out of dlcore: weights in published names, predictions as StableHLO."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dlcore import trees
from dlcore.errors import UserError
from dlcore.transfer import blocks, files, naming, safetensors, sources
from dlcore.transfer import rules as tables
from dlcore.transfer.naming import OWN
from dlcore.typing import PyTree

PLATFORMS = ("cpu", "cuda", "tpu")


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

  What was loaded from such a folder is written with the same bits, if it was
  published as float32.

  Args:
    folder: is made if it is absent.
    model: the module.
    variables: of the module.
    config: entries of config.json beside those that the family knows; with
      "dlcore" `{"model": {"name", "num_classes", ...}, "input": shape}`.
    channels: of the images, those of the first convolution by default.
    family: a key of `FAMILIES`, or "dlcore" for our own paths. By default the
      first that can tell such a model, "dlcore" where there is none.

  Returns:
    The family.

  Raises:
    UserError: the family has no name for an array or no such models, or the
      folder cannot be written.
  """
  arrays = blocks.unstacked(trees.flatten(variables))
  model = _sized(model, arrays)
  name = family or preferred(model)
  chosen = naming.of(name, model, arrays)
  about = {"model_type": name, **chosen.family.config(model)}
  channels = _channels(arrays) if channels is None else channels
  if channels != 3 and name != OWN:
    about = _with_channels(about, channels)
  try:
    published = tables.save(chosen.rules, arrays)
  except ValueError as error:
    raise UserError(
      f"expected a model whose every array has a name in {name}",
      f"got a {type(model).__name__}: {error}",
      f"use {OWN!r} as the family",
    ) from error
  published |= _counters(published)
  # Transformers reads no file that does not say that it is PyTorch's.
  path = Path(folder)
  safetensors.write(path / sources.WHOLE, published, {"format": "pt"})
  text = json.dumps({**about, **(config or {})}, indent=2, sort_keys=True)
  files.write(
    path / sources.CONFIG, lambda file: file.write(f"{text}\n".encode())
  )
  return name


STEMS = ("patches", "stem/conv", "stem_conv", "conv_0")
"""Paths of the first convolutions."""


def _channels(arrays: Mapping[str, np.ndarray]) -> int:
  """Returns the channels of the images, 3 where there are none."""
  paths = (f"params/{stem}/kernel" for stem in STEMS)
  return next((arrays[path].shape[2] for path in paths if path in arrays), 3)


def _sized(model: Any, arrays: Mapping[str, np.ndarray]) -> Any:
  """Returns a ViT with the size of the images of its position table.

  Where that is of a square; other models are returned as they are.
  """
  table = arrays.get("params/position")
  if getattr(model, "image_size", None) != 0 or table is None:
    return model
  patches = table.shape[1] - (model.pool == "class")
  side = math.isqrt(patches)
  if side**2 != patches:
    return model
  return model.clone(image_size=side * model.patch)


def _with_channels(about: Mapping[str, Any], channels: int) -> dict[str, Any]:
  """Adds what transformers or timm calls the channels to a config.json."""
  if "architecture" in about:
    arguments = {**about.get("model_args", {}), "in_chans": channels}
    return {**about, "model_args": arguments}
  return {**about, "num_channels": channels}


def _counters(names: Iterable[str]) -> dict[str, np.ndarray]:
  """Returns what PyTorch's batch norms miss: how many batches they have seen.

  Nothing depends on it where they have a momentum.
  """
  end = ".running_var"
  return {
    f"{name.removesuffix(end)}.num_batches_tracked": np.zeros((), np.int64)
    for name in names
    if name.endswith(end)
  }


def preferred(model: Any) -> str:
  """Returns the first family that can tell such a model, or "dlcore"."""
  for name in naming.suited(model):
    try:
      naming.FAMILIES[name].config(model)
    except UserError:
      continue
    return name
  return OWN


def write(path: str | Path, data: bytes) -> None:
  """Writes a file, all of it or nothing.

  Raises:
    UserError: it cannot be written.
  """
  files.write(Path(path), lambda file: file.write(data))


def lowered(
  function: Callable[..., Any],
  example: Mapping[str, tuple[tuple[int, ...], Any]],
  *,
  platforms: Sequence[str] = PLATFORMS,
) -> bytes:
  """Returns a function as StableHLO that runs without dlcore.

  Args:
    function: of arrays `[B, ...]` by keyword; what it closes over is kept.
    example: the shape without B and the dtype of each of them, by name.
    platforms: where it is to run.

  Returns:
    What `jax.export.deserialize` reads; the number B is left open.

  Raises:
    UserError: the package flatbuffers is not installed.
  """
  from jax import export

  batch = export.symbolic_shape("B")
  shapes = {
    name: jax.ShapeDtypeStruct((*batch, *shape), dtype)
    for name, (shape, dtype) in example.items()
  }
  exported = export.export(jax.jit(function), platforms=platforms)(**shapes)
  try:
    return bytes(exported.serialize())
  except ImportError:
    raise UserError(
      "expected the package flatbuffers, which writes StableHLO",
      "it is not installed",
      "pip install flatbuffers",
    ) from None

"""The config.json that timm publishes, which torchvision's weights get too.

It names an `architecture`, the `num_classes`, and in `model_args` what differs
from the architecture.
"""

from collections.abc import Collection, Mapping
from typing import Any

import jax
import numpy as np

from dlcore.errors import UserError, nearest

INPUT = {"img_size", "in_chans"}
"""Arguments that the first image tells our models."""

HARMLESS = {
  "attn_drop_rate",
  "drop_path_rate",
  "drop_rate",
  "dynamic_img_size",
  "patch_drop_rate",
  "pos_drop_rate",
  "proj_drop_rate",
  "strict_img_size",
}
"""Arguments that change nothing in evaluation of images of the known size."""


def given(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns `model_args` without what changes nothing; None is not given."""
  found = config.get("model_args") or {}
  return {
    key: value
    for key, value in found.items()
    if value is not None and key not in HARMLESS
  }


def architecture(config: Mapping[str, Any]) -> str:
  """Returns the name without what follows its dot, the training recipe."""
  return str(config.get("architecture", "")).partition(".")[0]


def arguments(
  config: Mapping[str, Any], known: Collection[str]
) -> dict[str, Any]:
  """Returns `model_args`, with tuples for JSON's lists.

  Raises:
    UserError: one of them is not known.
  """
  found = given(config)
  for key in found.keys() - INPUT - set(known):
    raise UserError(
      "expected known arguments in model_args",
      f"got {key!r}",
      nearest(key, known),
    )
  return {
    key: tuple(value) if isinstance(value, list) else value
    for key, value in found.items()
    if key not in INPUT
  }


def head(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns our settings of the head: none where there are no classes."""
  count = config.get("num_classes", 1000)
  return {"num_classes": count or 1, "head": "classifier" if count else None}


def inputs(config: Mapping[str, Any]) -> tuple[jax.ShapeDtypeStruct, ...]:
  """Returns what a model is initialised with, images `[1, Y, X, C]`."""
  known = given(config)
  published = config.get("pretrained_cfg", {}).get("input_size", (3, 224, 224))
  channels = known.get("in_chans", published[0])
  size = known.get("img_size", published[1:])
  rows, columns = (size, size) if isinstance(size, int) else size
  shape = (1, rows, columns, channels)
  return (jax.ShapeDtypeStruct(shape, np.float32),)

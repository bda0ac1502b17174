"""ViT in transformers: names and config.json."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dlcore.layers import resize_table
from dlcore.models.vit import ViT
from dlcore.transfer.families import config_fields
from dlcore.transfer.families.config_fields import Field
from dlcore.transfer.families.hf_config import (
  ENCODER,
  HfConfig,
  without_missing_pooler,
)
from dlcore.transfer.families.layer_rules import attention, dense, norm
from dlcore.transfer.families.name_rules import CONV, Rule

OPTIONAL_LAYERS = r"^params/pooler/"
"""Layers that some of the published models have in addition to the encoder."""


def _load_pooler_size(_, config: Mapping[str, Any]) -> int:
  width = config.get("hidden_size", 768)
  config_fields.check_entries(config, {"pooler_output_size": width})
  return width


CONFIG = HfConfig(
  ViT,
  "vit",
  architectures={
    "ViTModel": {"head": None, "pooler": True},
    "ViTForImageClassification": {"head": "classifier", "pooler": False},
  },
  prefix="vit.",
  fields=(
    Field("patch_size", "patch_size", 16),
    Field(
      "image_size",
      "image_size",
      224,
      lambda size, _: size if isinstance(size, int) else tuple(size),
      nonzero=True,
    ),
    Field(  # Checked, and never written: the last row of a field is read.
      "pooler_output_size",
      "width",
      None,
      _load_pooler_size,
      lambda *_: None,
    ),
    *ENCODER,
    Field("qkv_bias", "qkv_bias", True),
    Field("hidden_dropout_prob", "dropout", 0.0),
    Field("attention_probs_dropout_prob", "attention_dropout", 0.0),
  ),
  constants={"pool": "class"},
  supported={"pooler_act": "tanh"},
  first_layer="patches",
)


def rules(model: ViT, base: str) -> Sequence[Rule]:
  """Returns the name rules of a model; those of its base begin with `base`."""
  layer, block = f"{base}encoder.layer.{{i}}", "params/block_{i}"
  names = (
    "attention.query",
    "attention.key",
    "attention.value",
    "output.dense",
  )
  projections = [f"{layer}.attention.{name}" for name in names]
  return (
    Rule(f"{base}embeddings.cls_token", "params/class_token"),
    Rule(f"{base}embeddings.position_embeddings", "params/position"),
    *dense(
      f"{base}embeddings.patch_embeddings.projection", "params/patches", CONV
    ),
    *norm(f"{layer}.layernorm_before", f"{block}/attention_norm"),
    *attention(projections, f"{block}/attention"),
    *norm(f"{layer}.layernorm_after", f"{block}/feedforward_norm"),
    *dense(f"{layer}.intermediate.dense", f"{block}/feedforward/in"),
    *dense(f"{layer}.output.dense", f"{block}/feedforward/out"),
    *norm(f"{base}layernorm", "params/norm"),
    *dense(f"{base}pooler.dense", "params/pooler"),
    *dense("classifier", "params/head"),
  )


def resize(method: str) -> Mapping[str, Callable]:
  """Returns the resizing of position tables of square images, by path regex.

  Args:
    method: see `layers.resize_table`.
  """

  def resize_positions(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    leading, old = _grid(array.shape[1])
    new_leading, new = _grid(shape[1])
    if leading != new_leading or array.shape[::2] != shape[::2]:
      raise ValueError("the width or the class token differs")
    table = resize_table(array[0], old, new, method=method, leading=leading)
    return np.asarray(table)[None]

  return {r"^params/position$": resize_positions}


def _grid(length: int) -> tuple[int, tuple[int, int]]:
  """Returns the number of class tokens and the grid of a position table."""
  for class_tokens in (0, 1):
    side = math.isqrt(length - class_tokens)
    if side**2 == length - class_tokens:
      return class_tokens, (side, side)
  raise ValueError(f"{length} positions are not a square grid")


def match_arrays(model: ViT, arrays: Mapping[str, np.ndarray]) -> ViT:
  """Returns a model with an image size of 0 with that of its positions.

  Tables of images that are not square leave the model unchanged.
  """
  table = arrays.get("params/position")
  if model.image_size != 0 or table is None:
    return model
  patches = table.shape[1] - (model.pool == "class")
  side = math.isqrt(patches)
  if side**2 != patches:
    return model
  return model.clone(image_size=side * model.patch_size)


FAMILY = CONFIG.family(
  rules,
  ignored=r"(^|\.)embeddings\.mask_token$",
  resize=resize("bicubic"),
  optional=OPTIONAL_LAYERS,
  match_names=without_missing_pooler,
  match_arrays=match_arrays,
)

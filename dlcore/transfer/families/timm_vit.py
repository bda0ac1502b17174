"""ViT and DeiT in timm: names and config.json.

The sizes are parsed from the name of the architecture, so there is no
`ArchitectureConfig` with a table of names.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dlcore.errors import UserError
from dlcore.models.vit import ViT
from dlcore.transfer.families import architecture_config, config_fields, hf_vit
from dlcore.transfer.families.config_fields import UNSUPPORTED, Field, mlp_dim
from dlcore.transfer.families.family import Family, images, num_channels
from dlcore.transfer.families.layer_rules import dense, fused_attention, norm
from dlcore.transfer.families.name_rules import CONV, DENSE, Rule, fused

SIZES: dict[str, dict[str, int]] = {
  "tiny": {"embed_dim": 192, "num_heads": 3},
  "small": {"embed_dim": 384, "num_heads": 6},
  "base": {"embed_dim": 768, "num_heads": 12},
  "large": {"embed_dim": 1024, "num_heads": 16, "depth": 24},
}
"""Arguments by the size in the name of the architecture."""

NAME = re.compile(
  rf"(vit|deit)_(?P<size>{'|'.join(SIZES)})_patch(?P<patch>\d+)_(?P<image>\d+)"
  r"(\..*)?"
)
"""Architectures of timm. DeiT III differs: it scales its residual branches."""

FIELDS = (
  Field("img_size", "image_size", nonzero=True),
  Field("patch_size", "patch_size"),
  Field("embed_dim", "width"),
  Field("depth", "depth", 12),
  Field("num_heads", "num_heads"),
  Field("qkv_bias", "qkv_bias", True),
  Field(
    "mlp_ratio",
    "mlp_dim",
    4,
    lambda ratio, arguments: int(arguments["embed_dim"] * ratio),
    lambda value, model: mlp_dim(value, model) / model.width,
  ),
)
"""Rows of `model_args`."""

CONSTANTS = {
  "pool": "class",
  "pooler": False,
  "activation": "gelu_exact",
  "eps": 1e-6,
}
SUPPORTED = {"global_pool": "token", "class_token": True}


def rules(model: ViT) -> Sequence[Rule]:
  """Returns the name rules, the same with and without a head."""
  published, path = "blocks.{i}", "params/block_{i}"
  return (
    Rule("cls_token", "params/class_token"),
    Rule("pos_embed", "params/position"),
    *dense("patch_embed.proj", "params/patches", CONV),
    *norm(f"{published}.norm1", f"{path}/attention_norm"),
    *fused_attention(
      f"{published}.attn.qkv", f"{path}/attention", fused(3, 0, DENSE)
    ),
    *dense(f"{published}.attn.proj", f"{path}/attention/out"),
    *norm(f"{published}.norm2", f"{path}/feedforward_norm"),
    *dense(f"{published}.mlp.fc1", f"{path}/feedforward/in"),
    *dense(f"{published}.mlp.fc2", f"{path}/feedforward/out"),
    *norm("norm", "params/norm"),
    *dense("pre_logits.fc", "params/pooler"),
    *dense("head", "params/head"),
  )


def build(config: Mapping[str, Any]) -> ViT:
  """Returns the model that a config.json describes.

  The name of its `architecture` contains the sizes; `model_args` overrides
  them.

  Raises:
    UserError: dlcore has no such model.
  """
  name = NAME.fullmatch(str(config.get("architecture", "")))
  if name is None:
    raise UserError(
      f"expected a ViT of timm of size {', '.join(SIZES)}, such as "
      "'vit_tiny_patch16_224'",
      f"got {config.get('architecture')!r}",
      UNSUPPORTED,
    )
  known = {*(row.key for row in FIELDS), *SUPPORTED}
  arguments: dict[str, Any] = {
    "patch_size": int(name["patch"]),
    "img_size": int(name["image"]),
    **SIZES[name["size"]],
    **architecture_config.known_arguments(config, known),
  }
  config_fields.check_entries({**config, **arguments}, SUPPORTED)
  fields = config_fields.load_fields(FIELDS, arguments)
  return ViT(**architecture_config.head_fields(config), **CONSTANTS, **fields)


def inputs(config: Mapping[str, Any]) -> tuple[jax.ShapeDtypeStruct, ...]:
  """Returns the input of `init`, float32 images `[1, Y, X, C]`."""
  channels = architecture_config.effective_arguments(config).get("in_chans", 3)
  return images(build(config).image_size, channels)


def describe(model: ViT) -> dict[str, Any]:
  """Returns the config.json of a model; see `ArchitectureConfig.describe`.

  All sizes are in `model_args`.
  """
  config_fields.check_constants(model, CONSTANTS)
  return {
    "architecture": "vit_base_patch16_224",
    "num_classes": architecture_config.num_classes(model),
    "num_features": model.width,
    "global_pool": "token",
    "model_args": config_fields.save_fields(FIELDS, model),
  }


def has_architecture(name: str) -> bool:
  """Returns whether an architecture is a ViT of one of the sizes."""
  return NAME.fullmatch(name) is not None


def describe_inputs(
  config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Mapping[str, Any]:
  """Returns a config.json with the argument `in_chans`, unless default."""
  channels = num_channels(arrays, "patches")
  if channels in (None, inputs(config)[0].shape[-1]):
    return config
  return architecture_config.with_arguments(config, in_chans=channels)


FAMILY = Family(
  rules,
  build,
  describe,
  model=ViT,
  resize=hf_vit.resize("antialiased"),
  inputs=inputs,
  optional=hf_vit.OPTIONAL_LAYERS,
  has_architecture=has_architecture,
  match_arrays=hf_vit.match_arrays,
  describe_inputs=describe_inputs,
)

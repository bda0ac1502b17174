"""The vision transformer as timm names it, DeiT included."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dlcore.errors import UserError, nearest
from dlcore.models.vit import ViT
from dlcore.transfer.families import parts, timm, vit
from dlcore.transfer.families.family import Family
from dlcore.transfer.families.parts import dense, norm
from dlcore.transfer.rules import CONV, DENSE, Rule, fused

NAME = re.compile(
  r"(vit|deit|deit3)_(?P<size>[a-z]+)_patch(?P<patch>\d+)_(?P<image>\d+)(\..*)?"
)
SIZES = {
  "tiny": {"width": 192, "heads": 3},
  "small": {"width": 384, "heads": 6},
  "base": {"width": 768, "heads": 12},
  "large": {"width": 1024, "heads": 16, "depth": 24},
}
ARGUMENTS = {
  "img_size": "image_size",
  "patch_size": "patch",
  "embed_dim": "width",
  "depth": "depth",
  "num_heads": "heads",
  "qkv_bias": "qkv_bias",
}
"""Arguments of timm's model and our settings."""


def rules(model: ViT) -> Sequence[Rule]:
  """Returns the rules; names are the same with and without a head."""
  theirs, ours = "blocks.{i}", "params/block_{i}"
  inputs = [f"{ours}/attention/{name}" for name in ("query", "key", "value")]
  return (
    Rule("cls_token", "params/class_token"),
    Rule("pos_embed", "params/position"),
    *dense("patch_embed.proj", "params/patches", CONV),
    *norm(f"{theirs}.norm1", f"{ours}/attention_norm"),
    Rule(
      f"{theirs}.attn.qkv.weight",
      tuple(f"{name}/kernel" for name in inputs),
      fused(3, 0, DENSE),
    ),
    Rule(
      f"{theirs}.attn.qkv.bias",
      tuple(f"{name}/bias" for name in inputs),
      fused(3, 0),
    ),
    *dense(f"{theirs}.attn.proj", f"{ours}/attention/out"),
    *norm(f"{theirs}.norm2", f"{ours}/feedforward_norm"),
    *dense(f"{theirs}.mlp.fc1", f"{ours}/feedforward/in"),
    *dense(f"{theirs}.mlp.fc2", f"{ours}/feedforward/out"),
    *norm("norm", "params/norm"),
    *dense("pre_logits.fc", "params/pooler"),
    *dense("head", "params/head"),
  )


def build(config: Mapping[str, Any]) -> ViT:
  """Builds the model that a config.json of timm describes.

  Its `architecture` tells the sizes, and `model_args` what differs.

  Raises:
    UserError: it asks for what this model has not.
  """
  name = NAME.fullmatch(config.get("architecture", ""))
  if name is None or name["size"] not in SIZES:
    raise UserError(
      f"expected a ViT of timm of the sizes {', '.join(SIZES)}, such as "
      "'vit_tiny_patch16_224'",
      f"got {config.get('architecture')!r}",
      parts.UNKNOWN,
    )
  settings: dict[str, Any] = dict(SIZES[name["size"]])
  settings |= {"patch": int(name["patch"]), "image_size": int(name["image"])}
  arguments = timm.given(config)
  arguments.pop("in_chans", None)  # The first image tells.
  ratio = arguments.pop("mlp_ratio", 4)
  pool = arguments.pop("global_pool", config.get("global_pool", "token"))
  token = arguments.pop("class_token", True)
  for key, value in arguments.items():
    if key not in ARGUMENTS:
      raise UserError(
        "expected arguments of a plain ViT in model_args",
        f"got {key!r}",
        nearest(key, ARGUMENTS),
      )
    settings[ARGUMENTS[key]] = (
      tuple(value) if isinstance(value, list) else value
    )
  if (pool, token) != ("token", True):
    raise UserError(
      "expected a class token that is what the head sees",
      f"got global_pool={pool!r}, class_token={token}",
      parts.UNKNOWN,
    )
  count = config.get("num_classes", 1000)
  return ViT(
    num_classes=count or None,
    head="classifier" if count else None,
    hidden=int(settings["width"] * ratio),
    **settings,
  )


def inputs(config: Mapping[str, Any]) -> tuple[jax.ShapeDtypeStruct, ...]:
  """Returns the images `[1, Y, X, C]` that a model is initialised with."""
  size = build(config).image_size
  rows, columns = (size, size) if isinstance(size, int) else size
  channels = timm.given(config).get("in_chans", 3)
  return (jax.ShapeDtypeStruct((1, rows, columns, channels), np.float32),)


def config(model: ViT) -> dict[str, Any]:
  """Returns a config.json of timm, with all sizes in `model_args`.

  The number of channels of the images, `in_chans`, is 3 unless one adds it.

  Raises:
    UserError: timm's plain ViT is not like it.
  """
  fixed = (model.pool, model.pooler, model.activation, model.epsilon)
  if fixed != ("class", False, "gelu_exact", 1e-6) or not model.image_size:
    raise UserError(
      "expected pool='class', pooler=False, activation='gelu_exact', "
      "epsilon=1e-6 and an image_size",
      f"got {fixed}, image_size={model.image_size}",
    )
  hidden = model.hidden or 4 * model.width
  return {
    "architecture": f"vit_base_patch{model.patch}_224",
    "num_classes": model.num_classes if model.head else 0,
    "num_features": model.width,
    "global_pool": "token",
    "model_args": {
      **{theirs: getattr(model, ours) for theirs, ours in ARGUMENTS.items()},
      "mlp_ratio": hidden / model.width,
    },
  }


FAMILY = Family(
  rules=rules,
  build=build,
  config=config,
  model=ViT,
  resize=vit.resize("antialiased"),
  inputs=inputs,
  optional=vit.OPTIONAL,
)

"""MLP-Mixer as timm names it."""

from collections.abc import Mapping, Sequence
from typing import Any

from dlcore.errors import UserError, lookup
from dlcore.models.mixer import Mixer
from dlcore.transfer.families import timm
from dlcore.transfer.families.family import Family
from dlcore.transfer.families.parts import dense, norm
from dlcore.transfer.rules import CONV, Rule

IGNORED = ""

SIZES: dict[str, tuple[int, int, int]] = {
  "mixer_s16_224": (16, 8, 512),
  "mixer_s32_224": (32, 8, 512),
  "mixer_b16_224": (16, 12, 768),
  "mixer_b32_224": (32, 12, 768),
  "mixer_l16_224": (16, 24, 1024),
  "mixer_l32_224": (32, 24, 1024),
}
"""Patch size, depth and width by the `architecture` of a config.json."""


def rules(model: Mixer) -> Sequence[Rule]:
  """Returns the rules; names are the same with and without a head."""
  del model  # All of them have these names.
  theirs, ours = "blocks.{i}", "params/block_{i}"
  return (
    *dense("stem.proj", "params/patches", CONV),
    *norm(f"{theirs}.norm1", f"{ours}/tokens_norm"),
    *dense(f"{theirs}.mlp_tokens.fc1", f"{ours}/tokens/in"),
    *dense(f"{theirs}.mlp_tokens.fc2", f"{ours}/tokens/out"),
    *norm(f"{theirs}.norm2", f"{ours}/channels_norm"),
    *dense(f"{theirs}.mlp_channels.fc1", f"{ours}/channels/in"),
    *dense(f"{theirs}.mlp_channels.fc2", f"{ours}/channels/out"),
    *norm("norm", "params/norm"),
    *dense("head", "params/head"),
  )


def build(config: Mapping[str, Any]) -> Mixer:
  """Builds the model of an `architecture` of timm, such as "mixer_b16_224".

  Raises:
    UserError: there is no such model, or `model_args` differ from it.
  """
  timm.arguments(config, ())
  patch_size, depth, width = lookup(SIZES, timm.architecture(config), "Mixer")
  return Mixer(
    **timm.head(config),
    patch_size=patch_size,
    depth=depth,
    width=width,
    tokens=width // 2,
    channels=4 * width,
  )


def config(model: Mixer) -> dict[str, Any]:
  """Returns the architecture and the number of classes.

  Raises:
    UserError: timm has no such model.
  """
  sizes = (model.patch_size, model.depth, model.width)
  names = [name for name, known in SIZES.items() if known == sizes]
  hidden = (model.tokens, model.channels)
  if not names or hidden != (model.width // 2, 4 * model.width):
    raise UserError(
      f"expected the sizes of one of {', '.join(SIZES)}", f"got {model}"
    )
  return {
    "architecture": names[0],
    "num_classes": model.num_classes if model.head else 0,
  }


FAMILY = Family(
  rules=rules,
  build=build,
  config=config,
  model=Mixer,
  ignored=IGNORED,
  inputs=timm.inputs,
)

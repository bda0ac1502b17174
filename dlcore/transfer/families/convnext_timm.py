"""ConvNeXt as timm names it."""

from collections.abc import Mapping, Sequence
from typing import Any

from dlcore.errors import UserError, lookup
from dlcore.models.convnext import ConvNeXt
from dlcore.transfer.families import timm
from dlcore.transfer.families.family import Family
from dlcore.transfer.families.parts import dense, norm
from dlcore.transfer.rules import CONV, Rule

IGNORED = ""

SIZES = {
  "convnext_tiny": {"depths": (3, 3, 9, 3), "widths": (96, 192, 384, 768)},
  "convnext_small": {"depths": (3, 3, 27, 3), "widths": (96, 192, 384, 768)},
  "convnext_base": {"depths": (3, 3, 27, 3), "widths": (128, 256, 512, 1024)},
  "convnext_large": {"depths": (3, 3, 27, 3), "widths": (192, 384, 768, 1536)},
}
"""By the `architecture` of a config.json."""

ARGUMENTS = {
  "depths": "depths",
  "dims": "widths",
  "patch_size": "patch_size",
  "kernel_sizes": "kernel_size",
  "ls_init_value": "layer_scale",
}
"""Arguments of timm's model and our settings."""


def rules(model: ConvNeXt) -> Sequence[Rule]:
  """Returns the rules; names are the same with and without a head."""
  del model  # All of them have these names.
  layer, block = "stages.{i}.blocks.{j}", "params/stage_{i}_block_{j}"
  return (
    *dense("stem.0", "params/stem_conv", CONV),
    *norm("stem.1", "params/stem_norm"),
    *norm("stages.{i}.downsample.0", "params/stage_{i}_norm"),
    *dense("stages.{i}.downsample.1", "params/stage_{i}_conv", CONV),
    *dense(f"{layer}.conv_dw", f"{block}/depthwise", CONV),
    *norm(f"{layer}.norm", f"{block}/norm"),
    *dense(f"{layer}.mlp.fc1", f"{block}/dense_0"),
    *dense(f"{layer}.mlp.fc2", f"{block}/dense_1"),
    Rule(f"{layer}.gamma", f"{block}/layer_scale"),
    *norm("head.norm", "params/norm"),
    *dense("head.fc", "params/head"),
  )


def build(config: Mapping[str, Any]) -> ConvNeXt:
  """Builds the model that a config.json of timm describes.

  Its `architecture` tells the sizes, and `model_args` what differs.

  Raises:
    UserError: it asks for what this model has not.
  """
  settings = dict(lookup(SIZES, timm.architecture(config), "ConvNeXt"))
  for key, value in timm.arguments(config, ARGUMENTS).items():
    settings[ARGUMENTS[key]] = value
  if settings.get("patch_size", 4) < 3:
    raise UserError(
      "expected a patch_size of at least 3, below which timm's first stage "
      "has another stride",
      f"got {settings['patch_size']}",
    )
  return ConvNeXt(**timm.head(config), **settings)


def config(model: ConvNeXt) -> dict[str, Any]:
  """Returns a config.json of timm, with all sizes in `model_args`.

  Raises:
    UserError: timm has no such model.
  """
  plain = model.epsilon == 1e-6 and model.layer_scale and model.patch_size > 2
  if len(model.depths) != 4 or not plain:
    raise UserError(
      "expected four stages, epsilon=1e-6, a layer_scale and a patch_size of "
      "at least 3",
      f"got depths={model.depths}, epsilon={model.epsilon}, "
      f"layer_scale={model.layer_scale}, patch_size={model.patch_size}",
    )
  sizes = {"depths": model.depths, "widths": model.widths}
  names = [name for name, known in SIZES.items() if known == sizes]
  arguments = {key: getattr(model, ours) for key, ours in ARGUMENTS.items()}
  return {
    "architecture": (names or list(SIZES))[0],
    "num_classes": model.num_classes if model.head else 0,
    "model_args": arguments,
  }


FAMILY = Family(
  rules=rules,
  build=build,
  config=config,
  model=ConvNeXt,
  ignored=IGNORED,
  inputs=timm.inputs,
)

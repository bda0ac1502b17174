"""Residual networks as torchvision and timm name them."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from dlcore.errors import UserError, lookup
from dlcore.models.resnet import ResNet
from dlcore.transfer.families import timm
from dlcore.transfer.families.family import Family
from dlcore.transfer.families.parts import batch_norm, dense
from dlcore.transfer.families.resnet import IGNORED, plain
from dlcore.transfer.rules import CONV, Rule

__all__ = ["IGNORED", "build", "config", "rules"]

SIZES: dict[str, dict[str, Any]] = {
  "resnet18": {"stages": (2, 2, 2, 2), "block": "basic"},
  "resnet34": {"stages": (3, 4, 6, 3), "block": "basic"},
  "resnet50": {"stages": (3, 4, 6, 3), "block": "bottleneck"},
  "resnet101": {"stages": (3, 4, 23, 3), "block": "bottleneck"},
  "resnet152": {"stages": (3, 8, 36, 3), "block": "bottleneck"},
}
"""By the `architecture` of a config.json."""


def rules(model: ResNet) -> Sequence[Rule]:
  """Returns the rules; names are the same with and without a head."""
  del model  # All of them have these names.
  layer, block = "layer{i+1}.{j}", "stage_{i}_block_{j}"
  return (
    Rule("conv1.weight", "params/stem/conv/kernel", CONV),
    *batch_norm("bn1", "stem/norm"),
    Rule(
      f"{layer}.conv{{k+1}}.weight", f"params/{block}/conv_{{k}}/kernel", CONV
    ),
    *batch_norm(f"{layer}.bn{{k+1}}", f"{block}/norm_{{k}}"),
    Rule(
      f"{layer}.downsample.0.weight",
      f"params/{block}/shortcut_conv/kernel",
      CONV,
    ),
    *batch_norm(f"{layer}.downsample.1", f"{block}/shortcut_norm"),
    *dense("fc", "params/head"),
  )


def build(config: Mapping[str, Any]) -> ResNet:
  """Builds the model that a config.json of timm describes, or ours.

  Its `architecture` tells the sizes, and `model_args` what differs.

  Raises:
    UserError: it asks for what this model has not.
  """
  settings = dict(lookup(SIZES, timm.architecture(config), "ResNet"))
  arguments = timm.arguments(config, ("layers", "channels"))
  settings["stages"] = arguments.get("layers", settings["stages"])
  channels = arguments.get("channels", (64, 128, 256, 512))
  if any(a * 2 != b for a, b in itertools.pairwise(channels)):
    raise UserError(
      "expected channels that double with every stage", f"got {channels}"
    )
  return ResNet(
    **timm.head(config),
    **settings,
    width=channels[0],
    stem_width=0 if channels[0] == 64 else 64,
  )


def config(model: ResNet) -> dict[str, Any]:
  """Returns a config.json of timm, with the sizes in `model_args`.

  Raises:
    UserError: neither library has such a model.
  """
  plain(model)
  if (model.stem_width or model.width) != 64 or len(model.stages) != 4:
    raise UserError(
      "expected four stages and a stem of 64 channels",
      f"got stages={model.stages}, stem_width="
      f"{model.stem_width or model.width}",
    )
  names = [name for name, s in SIZES.items() if s["block"] == model.block]
  exact = [name for name in names if SIZES[name]["stages"] == model.stages]
  arguments = {
    "layers": list(model.stages),
    "channels": [model.width << i for i in range(4)],
  }
  whole = bool(exact) and model.width == 64
  return {
    "architecture": (exact or names)[0],
    "num_classes": model.num_classes if model.head else 0,
    "model_args": {} if whole else arguments,
  }


FAMILY = Family(
  rules=rules,
  build=build,
  config=config,
  model=ResNet,
  ignored=IGNORED,
  inputs=timm.inputs,
)

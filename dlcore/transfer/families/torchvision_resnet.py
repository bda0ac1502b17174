"""ResNet in torchvision and timm: names and config.json."""

import itertools
from collections.abc import Sequence

from dlcore.errors import UserError
from dlcore.models.resnet import ResNet
from dlcore.transfer.families.architecture_config import (
  STAGES,
  ArchitectureConfig,
)
from dlcore.transfer.families.config_fields import (
  ANOTHER_FAMILY,
  UNSUPPORTED,
  Field,
)
from dlcore.transfer.families.hf_resnet import CONSTANTS
from dlcore.transfer.families.layer_rules import (
  BATCH_COUNTERS,
  conv_norm,
  dense,
)
from dlcore.transfer.families.name_rules import Rule

STEM_WIDTH = 64
"""Channels of the stem, which no argument of these libraries changes."""


def _load_width(channels: Sequence[int], _) -> int:
  if any(a * 2 != b for a, b in itertools.pairwise(channels)):
    raise UserError(
      "expected channels that double with every stage",
      f"got {channels}",
      UNSUPPORTED,
    )
  return channels[0]


def _load_stem_width(channels: Sequence[int], _) -> int:
  return 0 if channels[0] == STEM_WIDTH else STEM_WIDTH


def _save_channels(_, model: ResNet) -> list[int]:
  stem_width = model.stem_width or model.width
  if stem_width != STEM_WIDTH:
    raise UserError(
      f"expected stem_width={STEM_WIDTH}", f"got {stem_width}", ANOTHER_FAMILY
    )
  return [model.width << i for i in range(len(model.stages))]


CONFIG = ArchitectureConfig(
  ResNet,
  {
    "resnet18": {"stages": (2, 2, 2, 2), "block": "basic"},
    "resnet34": {"stages": (3, 4, 6, 3), "block": "basic"},
    "resnet50": {"stages": (3, 4, 6, 3), "block": "bottleneck"},
    "resnet101": {"stages": (3, 4, 23, 3), "block": "bottleneck"},
    "resnet152": {"stages": (3, 8, 36, 3), "block": "bottleneck"},
  },
  arguments=(
    Field("layers", "stages", (), *STAGES),
    Field("channels", "width", (), _load_width, _save_channels),
    Field("channels", "stem_width", (), _load_stem_width, _save_channels),
  ),
  constants=CONSTANTS,
  first_layer="stem/conv",
)


def rules(model: ResNet) -> Sequence[Rule]:
  """Returns the name rules, the same with and without a head."""
  del model
  layer, block = "layer{i+1}.{j}", "stage_{i}_block_{j}"
  return (
    *conv_norm("conv1", "bn1", "stem/conv", "stem/norm"),
    *conv_norm(
      f"{layer}.conv{{k+1}}",
      f"{layer}.bn{{k+1}}",
      f"{block}/conv_{{k}}",
      f"{block}/norm_{{k}}",
    ),
    *conv_norm(
      f"{layer}.downsample.0",
      f"{layer}.downsample.1",
      f"{block}/shortcut_conv",
      f"{block}/shortcut_norm",
    ),
    *dense("fc", "params/head"),
  )


FAMILY = CONFIG.family(rules, ignored=BATCH_COUNTERS)

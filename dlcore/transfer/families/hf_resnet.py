"""ResNet in transformers: names and config.json."""

from collections.abc import Mapping, Sequence
from typing import Any

from dlcore.errors import UserError, lookup
from dlcore.models.resnet import ResNet
from dlcore.transfer.families.config_fields import (
  SEQUENCE,
  UNSUPPORTED,
  Field,
  or_field,
)
from dlcore.transfer.families.hf_config import CLASSES, HfConfig
from dlcore.transfer.families.layer_rules import (
  BATCH_COUNTERS,
  conv_norm,
  dense,
)
from dlcore.transfer.families.name_rules import Rule

EXPANSION = {"basic": 1, "bottleneck": 4}
"""Output channels of a block as a multiple of its width."""

CONSTANTS = {"stem": "large", "shortcut": "convolution"}
"""Fields of the networks for large images, which other libraries publish."""

HIDDEN_SIZES = (256, 512, 1024, 2048)


def _load_width(sizes: Sequence[int], config: Mapping[str, Any]) -> int:
  expansion = EXPANSION.get(config.get("layer_type", "bottleneck"), 1)
  width = sizes[0] // expansion
  doubling = [expansion * width << i for i in range(len(sizes))]
  if list(sizes) != doubling:
    raise UserError(
      f"expected hidden_sizes that double with every stage, such as {doubling}",
      f"got {list(sizes)}",
      UNSUPPORTED,
    )
  return width


def _save_width(width: int, model: ResNet) -> list[int]:
  first = lookup(EXPANSION, model.block, "block") * width
  return [first << i for i in range(len(model.stages))]


def _load_stem_width(stem_width: int, config: Mapping[str, Any]) -> int:
  width = _load_width(config.get("hidden_sizes", HIDDEN_SIZES), config)
  return 0 if stem_width == width else stem_width


CONFIG = HfConfig(
  ResNet,
  "resnet",
  architectures={
    "ResNetForImageClassification": {"head": "classifier"},
    "ResNetModel": {"head": None},
  },
  prefix="resnet.",
  fields=(
    Field("layer_type", "block", "bottleneck"),
    Field("depths", "stages", (3, 4, 6, 3), *SEQUENCE),
    Field("hidden_sizes", "width", HIDDEN_SIZES, _load_width, _save_width),
    Field(
      "embedding_size", "stem_width", 64, _load_stem_width, or_field("width")
    ),
    *CLASSES,
  ),
  constants=CONSTANTS,
  supported={
    "hidden_act": "relu",
    "downsample_in_first_stage": False,
    "downsample_in_bottleneck": False,
  },
  first_layer="stem/conv",
)


def rules(model: ResNet, base: str) -> Sequence[Rule]:
  """Returns the name rules of a model; those of its base begin with `base`."""
  del model
  stem = f"{base}embedder.embedder"
  layer = f"{base}encoder.stages.{{i}}.layers.{{j}}"
  block = "stage_{i}_block_{j}"
  return (
    *_layer(stem, "stem/conv", "stem/norm"),
    *_layer(
      f"{layer}.layer.{{k}}", f"{block}/conv_{{k}}", f"{block}/norm_{{k}}"
    ),
    *_layer(
      f"{layer}.shortcut", f"{block}/shortcut_conv", f"{block}/shortcut_norm"
    ),
    *dense("classifier.1", "params/head"),
  )


def _layer(published: str, conv: str, norm: str) -> tuple[Rule, ...]:
  names = (f"{published}.convolution", f"{published}.normalization")
  return conv_norm(*names, conv, norm)


FAMILY = CONFIG.family(rules, ignored=BATCH_COUNTERS)

"""EfficientNet-Lite in timm: names and config.json.

Architectures with the prefix "tf_" have Google's weights.
"""

from collections.abc import Sequence

from dlcore.models.efficientnet import EfficientNetLite
from dlcore.transfer.families.architecture_config import ArchitectureConfig
from dlcore.transfer.families.layer_rules import (
  BATCH_COUNTERS,
  conv_norm,
  dense,
)
from dlcore.transfer.families.name_rules import Rule

FACTORS: dict[str, tuple[float, float]] = {
  "efficientnet_lite0": (1.0, 1.0),
  "efficientnet_lite1": (1.0, 1.1),
  "efficientnet_lite2": (1.1, 1.2),
  "efficientnet_lite3": (1.2, 1.4),
  "efficientnet_lite4": (1.4, 1.8),
}
"""Factors of width and depth by architecture."""

ORIGINS = {
  "tf_": {"padding": "same", "eps": 1e-3},
  "": {"padding": "symmetric", "eps": 1e-5},
}
"""Fields by prefix of the architecture."""

CONFIG = ArchitectureConfig(
  EfficientNetLite,
  {
    prefix + name: {"width_factor": width, "depth_factor": depth, **fields}
    for prefix, fields in ORIGINS.items()
    for name, (width, depth) in FACTORS.items()
  },
  first_layer="stem/conv",
)


def rules(model: EfficientNetLite) -> Sequence[Rule]:
  """Returns the name rules, the same with and without a head."""
  table = [*_layer("conv_stem", "bn1", "stem")]
  for i, (_, _, _, expansion, _) in enumerate(model.stages):
    block, path = f"blocks.{i}.{{j}}", f"stage_{i}_block_{{j}}"
    for k, (conv, name) in enumerate(SEPARABLE if expansion == 1 else INVERTED):
      table += _layer(f"{block}.{conv}", f"{block}.bn{k + 1}", f"{path}/{name}")
  table += _layer("conv_head", "bn2", "last")
  return [*table, *dense("classifier", "params/head")]


INVERTED = (
  ("conv_pw", "expand"),
  ("conv_dw", "depthwise"),
  ("conv_pwl", "project"),
)
SEPARABLE = (("conv_dw", "depthwise"), ("conv_pw", "project"))
"""Published and own name of the convolutions of a block, in order."""


def _layer(conv: str, norm: str, path: str) -> tuple[Rule, ...]:
  return conv_norm(conv, norm, f"{path}/conv", f"{path}/norm")


FAMILY = CONFIG.family(rules, ignored=BATCH_COUNTERS)

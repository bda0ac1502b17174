"""ConvNeXt in timm: names and config.json."""

from collections.abc import Sequence

from dlcore.errors import UserError
from dlcore.models.convnext import ConvNeXt
from dlcore.transfer.families.architecture_config import (
  STAGES,
  ArchitectureConfig,
)
from dlcore.transfer.families.config_fields import (
  SEQUENCE,
  UNSUPPORTED,
  Field,
)
from dlcore.transfer.families.layer_rules import dense, norm
from dlcore.transfer.families.name_rules import CONV, Rule


def _patch_size(size: int, _) -> int:
  if size < 3:
    raise UserError(
      "expected patch_size >= 3, as the first stage of timm has another "
      "stride below",
      f"got patch_size={size}",
      UNSUPPORTED,
    )
  return size


DEPTHS_TINY, DEPTHS = (3, 3, 9, 3), (3, 3, 27, 3)

CONFIG = ArchitectureConfig(
  ConvNeXt,
  {
    "convnext_tiny": {"depths": DEPTHS_TINY, "widths": (96, 192, 384, 768)},
    "convnext_small": {"depths": DEPTHS, "widths": (96, 192, 384, 768)},
    "convnext_base": {"depths": DEPTHS, "widths": (128, 256, 512, 1024)},
    "convnext_large": {"depths": DEPTHS, "widths": (192, 384, 768, 1536)},
  },
  arguments=(
    Field("depths", "depths", (), *STAGES),
    Field("dims", "widths", (), *SEQUENCE),
    Field("patch_size", "patch_size", 4, _patch_size, _patch_size),
    Field("kernel_sizes", "kernel_size", 7),
    Field("ls_init_value", "layer_scale", 1e-6, nonzero=True),
  ),
  constants={"eps": 1e-6},
  first_layer="stem_conv",
)


def rules(model: ConvNeXt) -> Sequence[Rule]:
  """Returns the name rules, the same with and without a head."""
  del model
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


FAMILY = CONFIG.family(rules)

"""VGG in torchvision: names and config.json."""

from collections.abc import Sequence

from dlcore.models.vgg import VGG
from dlcore.transfer.families.architecture_config import ArchitectureConfig
from dlcore.transfer.families.layer_rules import (
  BATCH_COUNTERS,
  batch_norm,
  dense,
)
from dlcore.transfer.families.name_rules import CONV, DENSE, Rule, flattened

STAGES = {
  "vgg11": ((64,), (128,), (256, 256), (512, 512), (512, 512)),
  "vgg13": ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
  "vgg16": ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3),
  "vgg19": ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4),
}
"""Stages by architecture; with batch norm, `_bn` follows the name."""

CONFIG = ArchitectureConfig(
  VGG,
  {
    name + suffix: {"stages": stages, "batch_norm": bool(suffix)}
    for suffix in ("", "_bn")
    for name, stages in STAGES.items()
  },
  first_layer="conv_0",
)


def rules(model: VGG) -> Sequence[Rule]:
  """Returns the name rules; torchvision also numbers ReLU and pooling."""
  table, position, layer = [], 0, 0
  for widths in model.stages:
    for _ in widths:
      published = f"features.{position}"
      table += dense(published, f"params/conv_{layer}", CONV)
      if model.batch_norm:
        table += batch_norm(f"features.{position + 1}", f"norm_{layer}")
      position += 3 if model.batch_norm else 2
      layer += 1
    position += 1
  names = [*(f"dense_{i}" for i in range(len(model.dense))), "head"]
  for i, name in enumerate(names):
    layout = DENSE if i else flattened(model.grid, model.grid)
    table += dense(f"classifier.{3 * i}", f"params/{name}", layout)
  return table


FAMILY = CONFIG.family(
  rules, ignored=BATCH_COUNTERS, optional=r"^params/dense_\d+/"
)

"""VGG as torchvision names it."""

from collections.abc import Mapping, Sequence
from typing import Any

from dlcore.errors import UserError, lookup
from dlcore.models.vgg import VGG
from dlcore.transfer.families import timm
from dlcore.transfer.families.family import Family
from dlcore.transfer.families.parts import batch_norm, dense
from dlcore.transfer.rules import CONV, DENSE, Rule, flattened

IGNORED = r"\.num_batches_tracked$"

SIZES = {
  "vgg11": ((64,), (128,), (256, 256), (512, 512), (512, 512)),
  "vgg13": ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
  "vgg16": ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3),
  "vgg19": ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4),
}
"""Stages by architecture; `_bn` after the name stands for batch norm."""


def rules(model: VGG) -> Sequence[Rule]:
  """Returns the rules; torchvision numbers all layers, relu and pooling too."""
  found, position, layer = [], 0, 0
  for widths in model.stages:
    for _ in widths:
      theirs = f"features.{position}"
      found += dense(theirs, f"params/conv_{layer}", CONV)
      if model.batch_norm:
        found += batch_norm(f"features.{position + 1}", f"norm_{layer}")
      position += 3 if model.batch_norm else 2
      layer += 1
    position += 1
  names = [*(f"dense_{i}" for i in range(len(model.dense))), "head"]
  for i, name in enumerate(names):
    layout = DENSE if i else flattened(model.grid, model.grid)
    found += dense(f"classifier.{3 * i}", f"params/{name}", layout)
  return found


def build(config: Mapping[str, Any]) -> VGG:
  """Builds the model of an `architecture` of torchvision, such as "vgg16_bn".

  Raises:
    UserError: there is no such model.
  """
  name = timm.architecture(config)
  return VGG(
    **timm.head(config),
    stages=lookup(SIZES, name.removesuffix("_bn"), "VGG"),
    batch_norm=name.endswith("_bn"),
  )


def config(model: VGG) -> dict[str, Any]:
  """Returns the architecture and the number of classes.

  Raises:
    UserError: torchvision has no such model.
  """
  names = [name for name, stages in SIZES.items() if stages == model.stages]
  if not names or (model.grid, model.dense) != (7, (4096, 4096)):
    raise UserError(
      f"expected the sizes of one of {', '.join(SIZES)}",
      f"got stages={model.stages}, grid={model.grid}, dense={model.dense}",
    )
  return {
    "architecture": names[0] + ("_bn" if model.batch_norm else ""),
    "num_classes": model.num_classes if model.head else 0,
  }


FAMILY = Family(
  rules=rules,
  build=build,
  config=config,
  model=VGG,
  ignored=IGNORED,
  inputs=timm.inputs,
)

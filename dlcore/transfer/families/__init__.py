"""Families of models with published weights, one file each."""

from dlcore.models.convnext import ConvNeXt
from dlcore.models.efficientnet import EfficientNetLite
from dlcore.models.mixer import Mixer
from dlcore.models.resnet import ResNet
from dlcore.models.vgg import VGG
from dlcore.transfer.families import (
  convnext,
  convnext_timm,
  efficientnet_lite,
  mixer,
  resnet,
  resnet_torchvision,
  timm,
  vgg,
)
from dlcore.transfer.families.family import Family

_RESNET_TORCHVISION = Family(
  resnet_torchvision.rules,
  resnet_torchvision.build,
  resnet_torchvision.config,
  resnet_torchvision.IGNORED,
  model=ResNet,
  inputs=timm.inputs,
)

FAMILIES: dict[str, Family] = {
  "convnext": Family(
    convnext.rules,
    convnext.build,
    convnext.config,
    convnext.IGNORED,
    convnext.PREFIX,
    ConvNeXt,
  ),
  "resnet": Family(
    resnet.rules,
    resnet.build,
    resnet.config,
    resnet.IGNORED,
    resnet.PREFIX,
    ResNet,
  ),
  "timm/convnext": Family(
    convnext_timm.rules,
    convnext_timm.build,
    convnext_timm.config,
    convnext_timm.IGNORED,
    model=ConvNeXt,
    inputs=timm.inputs,
  ),
  "timm/efficientnet_lite": Family(
    efficientnet_lite.rules,
    efficientnet_lite.build,
    efficientnet_lite.config,
    efficientnet_lite.IGNORED,
    model=EfficientNetLite,
    inputs=timm.inputs,
  ),
  "timm/mixer": Family(
    mixer.rules,
    mixer.build,
    mixer.config,
    mixer.IGNORED,
    model=Mixer,
    inputs=timm.inputs,
  ),
  "timm/resnet": _RESNET_TORCHVISION,
  "torchvision/resnet": _RESNET_TORCHVISION,
  "torchvision/vgg": Family(
    vgg.rules,
    vgg.build,
    vgg.config,
    vgg.IGNORED,
    model=VGG,
    inputs=timm.inputs,
  ),
}
"""By the `model_type` of Hugging Face's config.json; those of other libraries
by `"timm/..."` and `"torchvision/..."`."""

__all__ = ["FAMILIES", "Family"]

"""Families of models with published weights, one file each."""

from dlcore.transfer.families import (
  bert,
  convnext,
  convnext_timm,
  distilbert,
  efficientnet_lite,
  gpt2,
  llama,
  marian,
  mixer,
  recurrent,
  resnet,
  resnet_torchvision,
  vgg,
  vit,
  vit_npz,
  vit_timm,
)
from dlcore.transfer.families.family import Family

FAMILIES: dict[str, Family] = {
  "bert": bert.FAMILY,
  "convnext": convnext.FAMILY,
  "distilbert": distilbert.FAMILY,
  "gpt2": gpt2.FAMILY,
  "llama": llama.FAMILY,
  "marian": marian.FAMILY,
  "qwen2": llama.QWEN2,
  "resnet": resnet.FAMILY,
  "vit": vit.FAMILY,
  "npz/vit": vit_npz.FAMILY,
  "timm/convnext": convnext_timm.FAMILY,
  "timm/deit": vit_timm.FAMILY,
  "timm/efficientnet_lite": efficientnet_lite.FAMILY,
  "timm/mixer": mixer.FAMILY,
  "timm/resnet": resnet_torchvision.FAMILY,
  "timm/vit": vit_timm.FAMILY,
  "torch/gru": recurrent.FAMILY,
  "torch/lstm": recurrent.FAMILY,
  "torch/rnn": recurrent.FAMILY,
  "torchvision/resnet": resnet_torchvision.FAMILY,
  "torchvision/vgg": vgg.FAMILY,
}
"""By the `model_type` of Hugging Face's config.json; those of other libraries
by `"timm/..."`, `"torchvision/..."` and `"npz/..."`."""

__all__ = ["FAMILIES", "Family"]

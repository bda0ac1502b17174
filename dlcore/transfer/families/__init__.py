"""Families of models with published weights, one file each."""

from dlcore.transfer.families import (
  hf_bert,
  hf_convnext,
  hf_distilbert,
  hf_gpt2,
  hf_llama,
  hf_marian,
  hf_resnet,
  hf_vit,
  npz_vit,
  timm_convnext,
  timm_efficientnet,
  timm_mixer,
  timm_vit,
  torch_recurrent,
  torchvision_resnet,
  torchvision_vgg,
)
from dlcore.transfer.families.family import Family

FAMILIES: dict[str, Family] = {
  "bert": hf_bert.FAMILY,
  "convnext": hf_convnext.FAMILY,
  "distilbert": hf_distilbert.FAMILY,
  "gpt2": hf_gpt2.FAMILY,
  "llama": hf_llama.FAMILY,
  "marian": hf_marian.FAMILY,
  "qwen2": hf_llama.QWEN2_FAMILY,
  "resnet": hf_resnet.FAMILY,
  "vit": hf_vit.FAMILY,
  "npz/vit": npz_vit.FAMILY,
  "timm/convnext": timm_convnext.FAMILY,
  "timm/deit": timm_vit.FAMILY,
  "timm/efficientnet_lite": timm_efficientnet.FAMILY,
  "timm/mixer": timm_mixer.FAMILY,
  "timm/resnet": torchvision_resnet.FAMILY,
  "timm/vit": timm_vit.FAMILY,
  "torch/gru": torch_recurrent.FAMILY,
  "torch/lstm": torch_recurrent.FAMILY,
  "torch/rnn": torch_recurrent.FAMILY,
  "torchvision/resnet": torchvision_resnet.FAMILY,
  "torchvision/vgg": torchvision_vgg.FAMILY,
}
"""By the `model_type` of transformers' config.json; families of other libraries
have the name of the library as a prefix. The order matters: the first inferred
family that can describe a model is its default in `save_pretrained`, and the
first of those whose names match equally many arrays is the one that is loaded.
"""

__all__ = ["FAMILIES", "Family"]

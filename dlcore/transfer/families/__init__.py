"""Families of models with published weights, one file each."""

from dlcore.models.bert import Bert
from dlcore.models.vit import ViT
from dlcore.transfer.families import bert, distilbert, vit, vit_npz, vit_timm
from dlcore.transfer.families.family import Family

_VIT_TIMM = Family(
  rules=vit_timm.rules,
  build=vit_timm.build,
  config=vit_timm.config,
  model=ViT,
  resize=vit.resize("antialiased"),
  inputs=vit_timm.inputs,
  optional=vit.OPTIONAL,
)

FAMILIES: dict[str, Family] = {
  "bert": Family(
    rules=bert.rules,
    build=bert.build,
    config=bert.config,
    ignored=bert.IGNORED,
    prefix=bert.PREFIX,
    model=Bert,
    optional=bert.OPTIONAL,
  ),
  "distilbert": Family(
    rules=distilbert.rules,
    build=distilbert.build,
    config=distilbert.config,
    ignored=distilbert.IGNORED,
    prefix=distilbert.PREFIX,
    model=Bert,
    optional=distilbert.OPTIONAL,
  ),
  "vit": Family(
    rules=vit.rules,
    build=vit.build,
    config=vit.config,
    ignored=vit.IGNORED,
    prefix=vit.PREFIX,
    model=ViT,
    resize=vit.resize("bicubic"),
    optional=vit.OPTIONAL,
  ),
  "timm/deit": _VIT_TIMM,
  "timm/vit": _VIT_TIMM,
  "npz/vit": Family(
    rules=vit_npz.rules,
    build=vit_npz.build,
    config=vit_npz.config,
    model=ViT,
    resize=vit.resize("bilinear"),
    optional=vit.OPTIONAL,
  ),
}
"""By the `model_type` of Hugging Face's config.json; those of other libraries
by `"timm/..."` and `"torchvision/..."`."""

__all__ = ["FAMILIES", "Family"]

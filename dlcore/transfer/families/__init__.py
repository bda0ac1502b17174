"""Families of models with published weights, one file each."""

from dlcore.models.bert import Bert
from dlcore.models.vit import ViT
from dlcore.transfer.families import bert, distilbert, vit, vit_npz, vit_timm
from dlcore.transfer.families.family import Family

_VIT_TIMM = Family(
  vit_timm.rules,
  vit_timm.build,
  vit_timm.config,
  vit_timm.IGNORED,
  model=ViT,
  resize=vit.resize("antialiased"),
)

FAMILIES: dict[str, Family] = {
  "bert": Family(
    bert.rules, bert.build, bert.config, bert.IGNORED, bert.PREFIX, Bert
  ),
  "distilbert": Family(
    distilbert.rules,
    distilbert.build,
    distilbert.config,
    distilbert.IGNORED,
    distilbert.PREFIX,
    Bert,
  ),
  "vit": Family(
    vit.rules,
    vit.build,
    vit.config,
    vit.IGNORED,
    vit.PREFIX,
    ViT,
    vit.resize("bicubic"),
  ),
  "timm/deit": _VIT_TIMM,
  "timm/vit": _VIT_TIMM,
  "npz/vit": Family(
    vit_npz.rules,
    vit_npz.build,
    vit_npz.config,
    vit_npz.IGNORED,
    model=ViT,
    resize=vit.resize("bilinear"),
  ),
}
"""By the `model_type` of Hugging Face's config.json; those of other libraries
by `"timm/..."` and `"torchvision/..."`."""

__all__ = ["FAMILIES", "Family"]

"""Families of models with published weights, one file each."""

from dlcore.transfer.families.family import Family

FAMILIES: dict[str, Family] = {}
"""By the `model_type` of Hugging Face's config.json; those of other libraries
by `"timm/..."` and `"torchvision/..."`."""

__all__ = ["FAMILIES", "Family"]

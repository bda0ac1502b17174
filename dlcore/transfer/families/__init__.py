"""Families of models with published weights, one file each."""

from dlcore.transfer.families import recurrent
from dlcore.transfer.families.family import Family

FAMILIES: dict[str, Family] = {
  name: Family(
    recurrent.rules,
    recurrent.build,
    recurrent.config,
    prefix=recurrent.PREFIX,
    inputs=recurrent.inputs,
  )
  for name in ("torch/gru", "torch/lstm", "torch/rnn")
}
"""By the `model_type` of Hugging Face's config.json; those of other libraries
by `"timm/..."` and `"torchvision/..."`."""

__all__ = ["FAMILIES", "Family"]

"""Families of models with published weights, one file each."""

from dlcore.models.gpt2 import GPT2
from dlcore.models.llama import Llama
from dlcore.models.transformer import Transformer
from dlcore.transfer.families import gpt2, llama, marian
from dlcore.transfer.families.family import Family

_LLAMA = (llama.rules, llama.build, llama.config, llama.IGNORED, llama.PREFIX)

FAMILIES: dict[str, Family] = {
  "gpt2": Family(
    gpt2.rules, gpt2.build, gpt2.config, gpt2.IGNORED, gpt2.PREFIX, GPT2
  ),
  "llama": Family(*_LLAMA, Llama),
  "marian": Family(
    marian.rules,
    marian.build,
    marian.config,
    marian.IGNORED,
    marian.PREFIX,
    Transformer,
  ),
  "qwen2": Family(*_LLAMA),
}
"""By the `model_type` of Hugging Face's config.json; those of other libraries
by `"timm/..."` and `"torchvision/..."`."""

__all__ = ["FAMILIES", "Family"]

"""Augmentations: pure functions `(key, example) -> example`, under jit."""

from dlcore.augment.color import brightness, contrast, saturation
from dlcore.augment.compose import AUGMENTATIONS, TABLES, compose
from dlcore.augment.corruption import blur, cutout, erase, noise
from dlcore.augment.geometry import (
  crop,
  flip,
  resized_crop,
  rotate,
  scale,
  shear,
  shift,
)
from dlcore.augment.mixing import MIXTURES, cutmix, mixup
from dlcore.augment.policies import randaugment, trivialaugment
from dlcore.augment.tokens import (
  TOKEN_AUGMENTATIONS,
  TokenIds,
  token_dropout,
  token_masking,
  word_order,
)
from dlcore.augment.views import VIEWS

__all__ = [
  "AUGMENTATIONS",
  "MIXTURES",
  "TABLES",
  "TOKEN_AUGMENTATIONS",
  "VIEWS",
  "TokenIds",
  "blur",
  "brightness",
  "compose",
  "contrast",
  "crop",
  "cutmix",
  "cutout",
  "erase",
  "flip",
  "mixup",
  "noise",
  "randaugment",
  "resized_crop",
  "rotate",
  "saturation",
  "scale",
  "shear",
  "shift",
  "token_dropout",
  "token_masking",
  "trivialaugment",
  "word_order",
]

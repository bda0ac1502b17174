"""Augmentations: pure functions `(key, example) -> example`, under jit."""

from dlcore.augment.color import brightness, contrast, saturation
from dlcore.augment.compose import AUGMENTATIONS, compose
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
from dlcore.augment.views import VIEWS

__all__ = [
  "AUGMENTATIONS",
  "MIXTURES",
  "VIEWS",
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
  "trivialaugment",
]

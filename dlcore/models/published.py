"""How many parameters the published models have.

The counts are those of the reference releases, where there is one that tells
them to the last digit, otherwise they are added up from the tables of the
paper; running means and variances are no parameters.
"""

from typing import Any, NamedTuple


class Published(NamedTuple):
  """What is known of a named size."""

  paper: str
  """Its arXiv number."""

  parameters: int

  settings: dict[str, Any]
  """Those of `models.create` that the count is for."""


ENCODER = {"num_classes": None, "head": None}
IMAGENET = {"num_classes": 1000}
CIFAR = {"num_classes": 10}

PUBLISHED: dict[str, Published] = {
  "bert_base": Published("1810.04805", 109_482_240, ENCODER),
  "bert_large": Published("1810.04805", 335_141_888, ENCODER),
  "convnext_base": Published("2201.03545", 88_591_464, IMAGENET),
  "convnext_small": Published("2201.03545", 50_223_688, IMAGENET),
  "convnext_tiny": Published("2201.03545", 28_589_128, IMAGENET),
  "distilbert": Published("1910.01108", 66_362_880, ENCODER),
  "efficientnet_lite0": Published("1905.11946", 4_652_008, IMAGENET),
  "efficientnet_lite1": Published("1905.11946", 5_416_680, IMAGENET),
  "efficientnet_lite2": Published("1905.11946", 6_092_072, IMAGENET),
  "efficientnet_lite3": Published("1905.11946", 8_197_096, IMAGENET),
  "efficientnet_lite4": Published("1905.11946", 13_006_568, IMAGENET),
  "minilm_l12": Published("2002.10957", 33_360_000, ENCODER),
  "minilm_l6": Published("2002.10957", 22_713_216, ENCODER),
  "mixer": Published("2105.01601", 18_528_264, IMAGENET),
  "mixer_base": Published("2105.01601", 59_880_472, IMAGENET),
  "resnet101": Published("1512.03385", 44_549_160, IMAGENET),
  "resnet110": Published("1512.03385", 1_727_962, CIFAR),
  "resnet152": Published("1512.03385", 60_192_808, IMAGENET),
  "resnet18": Published("1512.03385", 11_689_512, IMAGENET),
  "resnet20": Published("1512.03385", 269_722, CIFAR),
  "resnet32": Published("1512.03385", 464_154, CIFAR),
  "resnet34": Published("1512.03385", 21_797_672, IMAGENET),
  "resnet44": Published("1512.03385", 658_586, CIFAR),
  "resnet50": Published("1512.03385", 25_557_032, IMAGENET),
  "resnet56": Published("1512.03385", 853_018, CIFAR),
  "vgg11": Published("1409.1556", 132_863_336, IMAGENET),
  "vgg16": Published("1409.1556", 138_357_544, IMAGENET),
  "vit_base": Published("2010.11929", 86_567_656, IMAGENET),
  "vit_large": Published("2010.11929", 304_326_632, IMAGENET),
  "vit_small": Published("2012.12877", 22_050_664, IMAGENET),
  "vit_tiny": Published("2012.12877", 5_717_416, IMAGENET),
  "wide_resnet28_10": Published("1605.07146", 36_479_194, CIFAR),
}

"""Parameter counts of published models.

Counts are exact. They come from reference releases where available, otherwise
from the tables of the paper. Running statistics of batch norm are not counted.
"""

from typing import Any, NamedTuple


class Published(NamedTuple):
  """Reference values of a published model."""

  paper: str
  """The arXiv number, or authors, year and title."""

  parameters: int
  """Number of parameters."""

  settings: dict[str, Any]
  """Arguments of `models.create` for this number of parameters."""


IMAGENET = {"num_classes": 1000}
CIFAR = {"num_classes": 10}
ENCODER = {"num_classes": None, "head": None}
LANGUAGE = {"num_classes": None, "head": "lm"}
GPT2 = (
  "Radford et al. 2019, Language models are unsupervised multitask learners"
)
SMOLLM = "Ben Allal et al. 2024, SmolLM"

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
  "gpt2": Published(GPT2, 124_439_808, LANGUAGE),
  "gpt2_large": Published(GPT2, 774_030_080, LANGUAGE),
  "gpt2_medium": Published(GPT2, 354_823_168, LANGUAGE),
  "gpt2_xl": Published(GPT2, 1_557_611_200, LANGUAGE),
  "llama2_7b": Published("2307.09288", 6_738_415_616, LANGUAGE),
  "llama3_2_1b": Published("2407.21783", 1_235_814_400, LANGUAGE),
  "llama3_2_3b": Published("2407.21783", 3_212_749_824, LANGUAGE),
  "llama3_8b": Published("2407.21783", 8_030_261_248, LANGUAGE),
  # OPUS-MT from English to German, including the 58,101 biases of the logits.
  "marian": Published("1804.00344", 73_886_208 + 58_101, LANGUAGE),
  "minilm_l12": Published("2002.10957", 33_360_000, ENCODER),
  "minilm_l6": Published("2002.10957", 22_713_216, ENCODER),
  "mixer": Published("2105.01601", 18_528_264, IMAGENET),
  "mixer_base": Published("2105.01601", 59_880_472, IMAGENET),
  "qwen2_0_5b": Published("2407.10671", 494_032_768, LANGUAGE),
  "qwen2_1_5b": Published("2407.10671", 1_543_714_304, LANGUAGE),
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
  "smollm_135m": Published(SMOLLM, 134_515_008, LANGUAGE),
  "smollm_1_7b": Published(SMOLLM, 1_711_376_384, LANGUAGE),
  "smollm_360m": Published(SMOLLM, 361_821_120, LANGUAGE),
  # The paper reports 65 and 213 million, with about 37,000 tokens.
  "transformer_base": Published("1706.03762", 63_082_496, LANGUAGE),
  "transformer_big": Published("1706.03762", 214_245_376, LANGUAGE),
  "vgg11": Published("1409.1556", 132_863_336, IMAGENET),
  "vgg16": Published("1409.1556", 138_357_544, IMAGENET),
  "vit_base": Published("2010.11929", 86_567_656, IMAGENET),
  "vit_large": Published("2010.11929", 304_326_632, IMAGENET),
  "vit_small": Published("2012.12877", 22_050_664, IMAGENET),
  "vit_tiny": Published("2012.12877", 5_717_416, IMAGENET),
  "wide_resnet28_10": Published("1605.07146", 36_479_194, CIFAR),
}

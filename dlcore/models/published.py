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

PUBLISHED: dict[str, Published] = {
  "bert_base": Published("1810.04805", 109_482_240, ENCODER),
  "bert_large": Published("1810.04805", 335_141_888, ENCODER),
  "distilbert": Published("1910.01108", 66_362_880, ENCODER),
  "minilm_l12": Published("2002.10957", 33_360_000, ENCODER),
  "minilm_l6": Published("2002.10957", 22_713_216, ENCODER),
  "vit_base": Published("2010.11929", 86_567_656, IMAGENET),
  "vit_large": Published("2010.11929", 304_326_632, IMAGENET),
  "vit_small": Published("2012.12877", 22_050_664, IMAGENET),
  "vit_tiny": Published("2012.12877", 5_717_416, IMAGENET),
}

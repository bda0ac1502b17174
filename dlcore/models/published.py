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


LANGUAGE = {"num_classes": None, "head": "lm"}
GPT2 = (
  "Radford et al. 2019, Language models are unsupervised multitask learners"
)
SMOLLM = "https://huggingface.co/blog/smollm"

PUBLISHED: dict[str, Published] = {
  "gpt2": Published(GPT2, 124_439_808, LANGUAGE),
  "gpt2_large": Published(GPT2, 774_030_080, LANGUAGE),
  "gpt2_medium": Published(GPT2, 354_823_168, LANGUAGE),
  "gpt2_xl": Published(GPT2, 1_557_611_200, LANGUAGE),
  "llama2_7b": Published("2307.09288", 6_738_415_616, LANGUAGE),
  "llama3_2_1b": Published("2407.21783", 1_235_814_400, LANGUAGE),
  "llama3_2_3b": Published("2407.21783", 3_212_749_824, LANGUAGE),
  "llama3_8b": Published("2407.21783", 8_030_261_248, LANGUAGE),
  # OPUS-MT from English to German, its 58,101 biases of logits included.
  "marian": Published("1804.00344", 73_886_208 + 58_101, LANGUAGE),
  "qwen2_0_5b": Published("2407.10671", 494_032_768, LANGUAGE),
  "qwen2_1_5b": Published("2407.10671", 1_543_714_304, LANGUAGE),
  "smollm_135m": Published(SMOLLM, 134_515_008, LANGUAGE),
  "smollm_1_7b": Published(SMOLLM, 1_711_376_384, LANGUAGE),
  "smollm_360m": Published(SMOLLM, 361_821_120, LANGUAGE),
  # The paper says 65 and 213 millions, of about 37,000 tokens.
  "transformer_base": Published("1706.03762", 63_082_496, LANGUAGE),
  "transformer_big": Published("1706.03762", 214_245_376, LANGUAGE),
}

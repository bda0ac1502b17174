"""Autoregressive generation from any model with a cache.

`prefill` runs a model once over the prompts and returns a `DecodingState`.
From it `generate` produces tokens one at a time with a sampler such as
`greedy`, and `beam_search` searches for sequences of high probability. All
of them are pure functions. Compile prefill and generation together:

    jax.jit(lambda variables, ids: generate(
      prefill(model, variables, ids, max_new_tokens=20), eos_ids=(2,)
    ))
"""

from dlcore.generation.beams import Beams, beam_search
from dlcore.generation.decoding_state import DecodingState, prefill
from dlcore.generation.sampling import (
  GenerateOutput,
  generate,
  greedy,
  sampling,
)

__all__ = [
  "Beams",
  "DecodingState",
  "GenerateOutput",
  "beam_search",
  "generate",
  "greedy",
  "prefill",
  "sampling",
]

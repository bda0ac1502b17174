"""Autoregressive generation from any model with a cache.

`prefill` runs a model once over the prompts and returns a `DecodingState`.
From it `generate` produces tokens one at a time with a sampler such as
`greedy`, and `beam_search` searches for sequences of high probability.
`penalize_repetition` and `forbid_repeated_ngrams` change the logits of a state.
All of them are pure functions. Compile prefill and generation together:

    jax.jit(lambda variables, ids: generate(
      prefill(model, variables, ids, max_new_tokens=20), eos_ids=(2,)
    ))

`stream` yields the same tokens one by one, and `TextOutput` their text.
"""

from dlcore.generation.beams import Beams, beam_search
from dlcore.generation.decoding_state import DecodingState, prefill
from dlcore.generation.repetition import (
  forbid_repeated_ngrams,
  penalize_repetition,
)
from dlcore.generation.sampling import (
  GenerateOutput,
  Sampler,
  generate,
  greedy,
  sampling,
)
from dlcore.generation.streaming import stream
from dlcore.generation.text_output import TextOutput

__all__ = [
  "Beams",
  "DecodingState",
  "GenerateOutput",
  "Sampler",
  "TextOutput",
  "beam_search",
  "forbid_repeated_ngrams",
  "generate",
  "greedy",
  "penalize_repetition",
  "prefill",
  "sampling",
  "stream",
]

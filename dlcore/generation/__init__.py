"""Texts token by token, from any model that keeps a cache.

A `Start` is a model after what it was given: a prompt, or a text to
translate. From there `generate` takes one token after another, chosen by a
function such as `greedy`, and `beam_search` looks for texts that are likely
as a whole. All are pure. Compile what is asked for as a whole:

    jax.jit(lambda variables, ids: generate(
      after_prompt(model, variables, ids, length=20), stop=(2,)
    ))
"""

from dlcore.generation.beams import Beams, beam_search
from dlcore.generation.sampling import (
  Generated,
  generate,
  greedy,
  sampling,
)
from dlcore.generation.start import (
  Start,
  after_prompt,
  after_source,
  without,
)

__all__ = [
  "Beams",
  "Generated",
  "Start",
  "after_prompt",
  "after_source",
  "beam_search",
  "generate",
  "greedy",
  "sampling",
  "without",
]

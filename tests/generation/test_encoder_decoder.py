import functools

import jax
import numpy as np
import pytest

from dlcore import models
from dlcore.errors import UserError
from dlcore.generation import beam_search, generate, prefill

MODELS = {
  "transformer": models.Transformer(
    vocab_size=19,
    target_vocab_size=13,
    width=16,
    depth=1,
    mlp_dim=24,
    num_heads=2,
  ),
  "seq2seq": models.Seq2Seq(
    vocab_size=19, target_vocab_size=13, width=16, depth=2
  ),
}
LENGTH = 6
START = 1
# Without optimization, compilation takes a third of the time.
jit = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


@pytest.fixture(scope="module", params=MODELS)
def sources(request, random_variables):
  """A model, variables, and source sequences with padding on both sides."""
  ids = np.random.default_rng(2).integers(0, 19, (3, 5))
  # Rows of equal length compile one program without padding.
  mask = np.array([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
  model = MODELS[request.param]
  return model, random_variables(model, ids, ids), ids, mask


def state(model, variables, ids, mask):
  return prefill(
    model,
    variables,
    ids,
    attention_mask=mask,
    max_new_tokens=LENGTH,
    decoder_start_id=START,
  )


@pytest.mark.slow  # tests/generation/test_every_model.py has padding too.
def test_padding_of_the_source_does_not_change_the_output(sources):
  model, variables, ids, mask = sources

  @jit
  def run(ids, mask):
    start = state(model, variables, ids, mask)
    return generate(start).ids, beam_search(start, num_beams=3).ids

  padded = run(ids, mask)
  for row in range(2):
    alone = run(ids[row : row + 1, mask[row] == 1], None)
    for one, several in zip(alone, padded, strict=True):
      np.testing.assert_array_equal(one[0], several[row])


@pytest.mark.parametrize(
  ("start", "message"),
  [
    (13, "decoder_start_id from 0 to 12"),
    (-1, "decoder_start_id from 0 to 12"),
    (1.5, "integers"),
    (None, "expected decoder_start_id for the encoder-decoder"),
  ],
)
def test_an_invalid_start_id_raises(sources, start, message):
  model, variables, ids, _ = sources
  run = functools.partial(prefill, max_new_tokens=3, decoder_start_id=start)
  with pytest.raises(UserError, match=message):
    jax.eval_shape(lambda v: run(model, v, ids).cache, variables)

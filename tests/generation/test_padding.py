"""Padding of prompts, at any place, against the same prompts without it."""

import functools

import jax
import numpy as np
import pytest

from dlcore import models
from dlcore.generation import generate, prefill

# Sorting keeps the order of few equal elements even if it is not stable.
KEPT, LENGTH = 24, 64
SMALL = {"vocab_size": 61, "width": 16, "depth": 1, "mlp_dim": 24}
MODELS = {
  "gpt2": models.GPT2(**SMALL, num_heads=2, max_length=80),
  "llama": models.Llama(**SMALL, num_heads=2),
}


@pytest.fixture(scope="module")
def prompts():
  """Prompts without padding, and padded left, right, on both sides, inside."""
  generator = np.random.default_rng(0)
  plain = generator.integers(0, 61, (4, KEPT))
  mask = np.zeros((4, LENGTH), int)
  mask[0, -KEPT:] = 1
  mask[1, :KEPT] = 1
  mask[2, 9 : 9 + KEPT] = 1
  mask[3, generator.permutation(LENGTH)[:KEPT]] = 1
  padded = generator.integers(0, 61, mask.shape)
  padded[mask == 1] = plain.reshape(-1)
  return plain, padded, mask


@pytest.mark.slow
@pytest.mark.parametrize(
  "name", ["gpt2", pytest.param("llama", marks=pytest.mark.slow)]
)
def test_padding_anywhere_gives_the_tokens_without_it(
  name, prompts, random_variables
):
  model, (plain, padded, mask) = MODELS[name], prompts
  variables = random_variables(model, plain)

  @functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
  )
  def run(ids, mask):
    state = prefill(
      model, variables, ids, attention_mask=mask, max_new_tokens=5
    )
    _, logits = state.step(state.cache, state.ids)
    return logits, generate(state).ids

  expected, ids = run(plain, None)
  logits, padded_ids = run(padded, mask)
  # The order of summation differs.
  assert np.abs(logits - expected).max() < 1e-5 * np.abs(expected).max()
  np.testing.assert_array_equal(padded_ids, ids)


class Recorder:
  """A model that records its inputs and predicts token 0."""

  head, vocab_size = "lm", 61

  def __init__(self):
    self.calls = []

  def apply(self, variables, ids, *, attention_mask, **options):
    self.calls.append((ids, attention_mask))
    cache = variables.get("cache", {"length": np.zeros((ids.shape[0], 1))})
    return np.zeros((*ids.shape, 61)), {"cache": cache}


def test_a_model_sees_the_kept_tokens_in_order_at_the_right(prompts):
  plain, padded, mask = prompts
  model = Recorder()
  state = prefill(model, {}, padded, attention_mask=mask, max_new_tokens=2)
  ids, kept = model.calls[-1]
  np.testing.assert_array_equal(ids[:, 1 - KEPT :], plain[:, :-1])
  np.testing.assert_array_equal(state.ids, plain[:, -1])
  first = ids.shape[1] - (KEPT - 1)
  assert (kept == (np.arange(ids.shape[1]) >= first)).all()

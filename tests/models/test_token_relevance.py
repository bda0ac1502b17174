"""The share of a token: a derivative, and the fall of the score without it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore import models

KEY = jax.random.key(0)
TEXT = {"vocab_size": 30, "num_classes": 3, "width": 8}
CASES = {
  "bert_base": {**TEXT, "depth": 2, "num_heads": 2, "max_length": 12},
  "text_cnn": {**TEXT, "features": 4, "kernel_sizes": (1, 2)},
}
"""Models with forward-mode derivatives, which recurrent ones do not have."""

IDS = np.array([[4, 9, 7, 12, 3, 0], [5, 8, 6, 1, 2, 10]], np.int32)
MASK = np.array([[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1]], np.int32)
WEIGHTS = np.array([[1, -1, 0], [0, 1, -1]], np.float32)


def make(name, settings):
  model = models.create(name, **settings)
  variables = model.init(KEY, jnp.asarray(IDS), train=False)
  noise = jax.random.normal(KEY, (30,))
  # Larger weights than the initial ones, so that the model is not linear.
  return model, jax.tree.map(
    lambda x: x * 3 + 0.1 * noise[: x.size % 29 + 1].mean(), variables
  )


def score(model, variables, mask=MASK):
  outputs = model.apply(variables, IDS, attention_mask=mask, train=False)
  return (outputs * WEIGHTS).sum(1)


@pytest.mark.fast_cases("text_cnn")
@pytest.mark.parametrize("name", CASES)
def test_it_is_the_derivative_along_the_embedding_of_the_token(name):
  """All ids differ, so that a row of the table is one token."""
  model, variables = make(name, CASES[name])
  relevance = models.token_relevance(
    model, variables, IDS, WEIGHTS, {"attention_mask": MASK}
  )
  table = variables["params"]["word_embedding"]["embedding"]

  def of_table(table):
    params = {**variables["params"], "word_embedding": {"embedding": table}}
    return score(model, {"params": params})

  along = jax.jit(lambda tangent: jax.jvp(of_table, (table,), (tangent,))[1])
  for row in range(2):
    for column, token in enumerate(IDS[row]):
      tangent = jnp.zeros_like(table).at[token].set(table[token])
      expected = float(along(tangent)[row])
      largest = float(np.abs(relevance[row]).max())
      assert abs(relevance[row, column] - expected) <= 1e-4 * largest
  assert relevance[0, 5] == 0  # Padding.


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ngram_bag", "ngram_cnn"])
def test_a_model_of_ngrams_has_no_embedding_of_single_tokens(name):
  model, variables = make(name, {**TEXT, "buckets": 64})
  arguments = (model, variables, IDS, WEIGHTS, {"attention_mask": MASK})
  assert models.token_relevance(*arguments) is None
  relevance = models.erasure_relevance(*arguments)
  whole = score(model, variables)
  for column in range(6):
    without = MASK.copy()
    without[:, column] = 0
    expected = whole - score(model, variables, without)
    np.testing.assert_allclose(relevance[:, column], expected, atol=1e-5)
  assert relevance[0, 5] == 0

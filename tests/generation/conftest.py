"""Random variables for models, and a Markov chain as a decoding state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore import trees
from dlcore.generation import DecodingState


@pytest.fixture(scope="session")
def random_variables():
  """Initializes a model such that its most probable tokens vary."""

  def initialize(model, *inputs):
    generator = np.random.default_rng(0)
    shapes = jax.eval_shape(
      lambda: model.init(jax.random.key(0), *inputs, train=False)
    )

    def values(path, leaf):
      normal = generator.normal(size=leaf.shape).astype(np.float32)
      # A positive scale would make a tied head repeat its input token.
      return -np.ones_like(normal) if path.endswith("scale") else 0.4 * normal

    return trees.map_with_path(values, shapes)

  return initialize


@pytest.fixture(scope="session")
def transitions():
  """Logits of two Markov chains over 4 tokens: `[chain, time, from, to]`."""
  return np.random.default_rng(3).normal(size=(2, 5, 4, 4)).astype("f") * 2


@pytest.fixture
def chains(transitions):
  """Makes a state of both chains: `chains(max_new_tokens)`.

  Its cache is the index of the chain and the time.
  """

  def make(max_new_tokens: int) -> DecodingState:
    def step(cache, ids):
      chain, t = cache
      return (chain, t + 1), jnp.asarray(transitions)[chain, t, ids]

    def take_rows(cache, rows):
      return jax.tree.map(lambda x: x[rows], cache)

    cache = (jnp.arange(2), jnp.zeros(2, jnp.int32))
    ids = jnp.zeros(2, jnp.int32)
    return DecodingState(step, cache, ids, max_new_tokens, take_rows)

  return make

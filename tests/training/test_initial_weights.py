"""Training that begins with weights from elsewhere."""

import jax
import numpy as np
import problem
import pytest
from flax import linen as nn

from dlcore import optim, sharding, tasks, training, trees


@pytest.mark.slow
def test_every_copy_of_the_weights_begins_with_the_initial_ones():
  calls = []

  def initial(params, model_state):
    calls.append(params)
    return jax.tree.map(lambda leaf: leaf / 2, params), model_state

  state = training.fit(
    tasks.classification(problem.Net()),
    optim.create("schedule_free_adamw", learning_rate=0.0),
    problem.source(50),
    steps=1,
    batch_size=16,
    ema=0.9,
    initial=initial,
    devices=jax.local_devices()[:1],
    progress=False,
  ).last
  (random,) = calls
  evaluated, _ = training.evaluation_variables(state)
  random, evaluated = trees.flatten(random), trees.flatten(evaluated)
  for path, leaf in trees.flatten(state.params).items():
    # Averages of the weights in the optimizer and the state are rounded.
    np.testing.assert_allclose(leaf, random[path] / 2, rtol=1e-6)
    np.testing.assert_allclose(evaluated[path], leaf, rtol=1e-6)


@pytest.mark.slow
def test_initial_weights_are_loaded_once_in_a_run(tmp_path):
  calls = []

  def initial(params, model_state):
    calls.append("called")
    return params, model_state

  problem.fit(tmp_path, steps=5, initial=initial)
  problem.fit(tmp_path, steps=10, initial=initial)
  assert len(calls) == 1


def test_fast_compilation_initializes_the_same_bits():
  initializers = {
    "normal": nn.initializers.lecun_normal(),
    "truncated": nn.initializers.truncated_normal(0.02),
    "uniform": nn.initializers.xavier_uniform(),
    "orthogonal": nn.initializers.orthogonal(),
  }

  def make(key):
    return {name: init(key, (33, 17)) for name, init in initializers.items()}

  one = sharding.partitioner(8, devices=jax.local_devices()[:1])
  key = jax.random.key(0)
  fast = jax.jit(make, compiler_options=one.init_compiler_options)(key)
  full = {"xla_backend_optimization_level": 3}
  optimized = jax.jit(make, compiler_options=full)(key)
  jax.tree.map(np.testing.assert_array_equal, fast, optimized)

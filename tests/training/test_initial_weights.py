"""Training that begins with weights from elsewhere."""

import jax
import numpy as np
import problem
from dlcore.scale import data_parallel
from flax import linen as nn

from dlcore import optim, tasks, training, trees


def halved(params, extra):
  return jax.tree.map(lambda leaf: leaf / 2, params), extra


def test_everything_begins_with_the_given_weights():
  calls = []

  def initial(params, extra):
    calls.append(params)
    return halved(params, extra)

  still = optim.create("schedule_free_adamw", learning_rate=0.0)
  state = training.fit(
    tasks.classification(problem.Net()),
    still,
    problem.source(50),
    steps=1,
    batch_size=16,
    ema=0.9,
    initial=initial,
    devices=jax.local_devices()[:1],
    progress=False,
  )
  (drawn,) = calls
  drawn, averaged = trees.flatten(drawn), trees.flatten(state.evaluated)
  for path, leaf in trees.flatten(state.params).items():
    # Averages of the weights in the optimizer and the state are rounded.
    np.testing.assert_allclose(leaf, drawn[path] / 2, rtol=1e-6)
    np.testing.assert_allclose(averaged[path], leaf, rtol=1e-6)


def test_a_program_compiled_in_short_draws_the_same_bits():
  draws = {
    "normal": nn.initializers.lecun_normal(),
    "truncated": nn.initializers.truncated_normal(0.02),
    "uniform": nn.initializers.xavier_uniform(),
    "orthogonal": nn.initializers.orthogonal(),
  }

  def make(key):
    return {name: draw(key, (33, 17)) for name, draw in draws.items()}

  once = data_parallel(8, devices=jax.local_devices()[:1]).once_options
  key = jax.random.key(0)
  drawn = jax.jit(make, compiler_options=once)(key)
  full = {"xla_backend_optimization_level": 3}
  fully = jax.jit(make, compiler_options=full)(key)
  jax.tree.map(np.testing.assert_array_equal, drawn, fully)

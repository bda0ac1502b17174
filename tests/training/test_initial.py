"""Training that begins with weights from elsewhere."""

import jax
import numpy as np
import problem

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

"""A batch in micro-batches, on any devices, has the gradient of the whole."""

import flax.linen as nn
import jax
import numpy as np
import problem
import pytest

from dlcore import optim, tasks, training
from dlcore.errors import UserError


class Plain(nn.Module):
  """A perceptron without batch norm, whose statistics are those of a part."""

  @nn.compact
  def __call__(self, x, *, train):
    x = nn.relu(nn.Dense(8, name="dense_0")(x.reshape(x.shape[0], -1)))
    return nn.Dense(3, name="head")(x)


def train(accumulate, devices, compiler="jit"):
  return problem.leaves(
    training.fit(
      tasks.classification(Plain(), class_weights=(1.0, 3.0, 0.2)),
      optim.create("sgd", learning_rate=0.1),
      problem.source(64),
      steps=4,
      batch_size=32,
      accumulate=accumulate,
      compiler=compiler,
      devices=jax.local_devices()[:devices],
      progress=False,
    ).last
  )


@pytest.mark.parametrize(
  ("compiler", "accumulate"),
  [
    ("jit", 2),
    ("pmap", 4),
    pytest.param("jit", 4, marks=pytest.mark.slow),
    pytest.param("pmap", 2, marks=pytest.mark.slow),
  ],
)
@pytest.mark.fast_cases("pmap-4")
def test_micro_batches_give_the_gradient_of_the_whole(accumulate, compiler):
  whole, cut = train(1, 1), train(accumulate, 4, compiler)
  for path, leaf in whole.items():
    if path.startswith(("params/", "metrics/")):
      scale = np.abs(leaf).max()
      assert np.abs(leaf - cut[path]).max() <= 1e-5 * scale, path


def test_micro_batches_that_do_not_divide_a_batch_are_refused():
  with pytest.raises(UserError, match="16 / 3"):
    problem.fit(accumulate=3)

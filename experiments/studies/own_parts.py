"""Trains with a model, a data source and a task that dlcore does not know.

  own_parts.py

Nothing is registered: functions and modules are passed where they are used.
"""

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dlcore import data, metrics, optim, training
from dlcore.task import Task


class Wave(nn.Module):
  """A sum of sines with learned frequencies: `[B, 1] -> [B, 1]`."""

  width: int = 32

  @nn.compact
  def __call__(self, x, *, train):
    """Maps `[B, 1]` to `[B, 1]`."""
    del train
    return nn.Dense(1)(jnp.sin(nn.Dense(self.width)(x)))


def points(size, seed):
  """Is the data: noisy points of a curve."""
  x = np.random.default_rng(seed).uniform(-3, 3, (size, 1)).astype(np.float32)
  y = np.sin(2 * x) + 0.3 * x
  return data.from_arrays({"x": x, "y": y.astype(np.float32)})


def robust_regression(model):
  """Is the task: the Huber loss, which outliers hardly move."""

  def init(key, batch):
    return model.init(key, batch["x"], train=False)["params"], {}

  def measure(params, batch, train):
    error = (
      model.apply({"params": params}, batch["x"], train=train) - batch["y"]
    )
    size = jnp.abs(error[:, 0])
    huber = jnp.where(size < 1, size**2 / 2, size - 0.5)
    mask = metrics.weights(batch, huber.shape[0])
    return huber, mask, {"error": metrics.weighted(size, mask)}

  def loss(params, extra, batch, key):
    huber, mask, sums = measure(params, batch, train=True)
    return (jnp.sum(huber * mask), jnp.sum(mask)), (extra, sums)

  def evaluate(params, extra, batch, key):
    return measure(params, batch, train=False)[2]

  def predict(params, extra, batch, key):
    return {"y": model.apply({"params": params}, batch["x"], train=False)}

  return Task(init=init, loss=loss, evaluate=evaluate, predict=predict)


def main(steps=500):
  """Trains, and returns the mean absolute error before and after."""
  task, valid = robust_regression(Wave()), points(200, seed=1)
  tx = optim.create("adam", learning_rate=1e-2)
  evaluate = training.Evaluator(task, valid)
  before = training.fit(task, tx, points(1000, seed=0), steps=1, progress=False)
  after = training.fit(
    task, tx, points(1000, seed=0), valid, steps=steps, best_by="-error"
  )
  return [evaluate(s.params, s.extra)["error"] for s in (before, after)]


if __name__ == "__main__":
  print("mean absolute error: {:.3f} -> {:.3f}".format(*main()))

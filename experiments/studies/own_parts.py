"""Trains with a model, a data source and a task that are defined here.

  own_parts.py

Nothing is registered: functions and modules are passed as arguments.
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
  """Returns a source of noisy points of a curve."""
  generator = np.random.default_rng(seed)
  x = generator.uniform(-3, 3, (size, 1)).astype(np.float32)
  y = np.sin(2 * x) + 0.3 * x
  return data.from_arrays({"x": x, "y": y.astype(np.float32)})


def robust_regression(model):
  """Returns the task of minimizing the Huber loss, robust to outliers."""

  def init(key, batch):
    return model.init(key, batch["x"], train=False)["params"], {}

  def measure(params, batch, train):
    outputs = model.apply({"params": params}, batch["x"], train=train)
    size = jnp.abs(outputs - batch["y"])[:, 0]
    huber = jnp.where(size < 1, size**2 / 2, size - 0.5)
    mask = metrics.weights(batch, huber.shape[0])
    return huber, mask, {"error": metrics.weighted(size, mask)}

  def loss(params, model_state, batch, key):
    huber, mask, sums = measure(params, batch, train=True)
    return (jnp.sum(huber * mask), jnp.sum(mask)), (model_state, sums)

  def evaluate(params, model_state, batch, key):
    return model_state, measure(params, batch, train=False)[2]

  def predict(params, model_state, batch, key):
    return {"y": model.apply({"params": params}, batch["x"], train=False)}

  return Task(init=init, loss=loss, evaluate=evaluate, predict=predict)


def main(steps=500):
  """Trains, and returns the mean absolute error before and after."""
  task = robust_regression(Wave())
  train, valid = points(1000, seed=0), points(200, seed=1)
  tx = optim.create("adam", learning_rate=1e-2)
  evaluate = training.Evaluator(task, valid)
  before = training.fit(task, tx, train, steps=1, progress=False).last
  after = training.fit(
    task, tx, train, valid, steps=steps, best_by="-error"
  ).best
  results = [evaluate(state) or {} for state in (before, after)]
  return [values["error"] for values in results]


if __name__ == "__main__":
  print("mean absolute error: {:.3f} -> {:.3f}".format(*main()))

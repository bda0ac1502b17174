"""All of dlcore in one file to fork: model, task, optimizer, loop, save."""

# pyright: reportArgumentType=false
# A source may lack validation and test data; digits has both.
import jax
import jax.numpy as jnp
from flax import linen as nn

from dlcore import data, losses, metrics, optim, storage, training
from dlcore.task import Task


class MLP(nn.Module):
  """One hidden layer: images `[B, 8, 8, 1]` to logits `[B, 10]`."""

  @nn.compact
  def __call__(self, x, *, train):
    """Returns logits."""
    x = nn.relu(nn.Dense(128)(x.reshape(x.shape[0], -1) / 255))
    return nn.Dense(10)(nn.Dropout(0.2, deterministic=not train)(x))


def classification(model):
  """Returns the task: what is learned, as pure functions."""

  def apply(params, batch, key=None):
    rngs, train = ({"dropout": key}, True) if key is not None else ({}, False)
    inputs = batch["image"]
    return model.apply({"params": params}, inputs, train=train, rngs=rngs)

  def measure(logits, batch):
    mask = metrics.weights(batch, logits.shape[0])  # 0 marks padding
    loss = losses.softmax_cross_entropy(logits, batch["label"])
    hits = jnp.argmax(logits, axis=-1) == batch["label"]
    values = {"loss": loss, "accuracy": hits}
    return {name: metrics.weighted(v, mask) for name, v in values.items()}

  def init(key, batch):
    return model.init(key, batch["image"], train=False)["params"], {}

  def loss(params, model_state, batch, key):
    sums = measure(apply(params, batch, key), batch)
    return sums["loss"], (model_state, sums)  # (total, weight), (state, sums)

  def evaluate(params, model_state, batch, key):
    return model_state, measure(apply(params, batch), batch)

  def predict(params, model_state, batch, key):
    return {"probabilities": jax.nn.softmax(apply(params, batch))}

  return Task(init, loss, evaluate, predict)


def main(folder="runs/minimal_loop", steps=1000):
  """Trains on digits; returns the metrics of the test split."""
  train, valid, test = data.load("digits")
  task = classification(MLP())
  rate = optim.schedule("warmup_cosine", learning_rate=3e-3, steps=steps)
  tx = optim.create("adamw", learning_rate=rate, clip_norm=1.0)
  order = data.shuffled(train.size, batch_size=64)
  example = next(data.batches(train, order, seed=0))
  state = training.init_state(task, tx, example, seed=0)
  step = jax.jit(training.make_step(task, tx), donate_argnums=0)
  evaluate = training.Evaluator(task, valid)
  batches = data.batches(train, order, seed=0, stop=steps)
  for number, batch in enumerate(batches, start=1):
    state, log = step(state, batch)
    if number % 200 == 0:
      print(number, float(log["loss"]), evaluate(state))
  with storage.Checkpoints(folder) as checkpoints:
    checkpoints.save(steps, {"state": state})
  return training.Evaluator(task, test)(state)


if __name__ == "__main__":
  print(main())

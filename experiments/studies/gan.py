"""A small GAN from the parts, without `fit`: two tasks, two optimizers.

experiments/studies/gan.py

Each player is a task whose `model_state` holds the other one's weights as
`frozen`; an iteration is one step of each (Goodfellow et al. 2014,
arXiv:1406.2661, with the non-saturating loss of section 3). Radford et al.
2016, arXiv:1511.06434, for the optimizer: Adam with b1 = 0.5.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from dlcore import data, optim, training
from dlcore.task import FROZEN, Task

LATENT = 16


class Generator(nn.Module):
  """Latents `[B, 16]` to images `[B, 8, 8, 1]` from -1 to 1."""

  @nn.compact
  def __call__(self, z):
    """Returns images."""
    x = nn.relu(nn.Dense(128)(z))
    x = nn.relu(nn.LayerNorm()(nn.Dense(128)(x)))
    return jnp.tanh(nn.Dense(64)(x)).reshape(-1, 8, 8, 1)


class Discriminator(nn.Module):
  """Images `[B, 8, 8, 1]` to logits `[B]`, above 0 for real ones."""

  @nn.compact
  def __call__(self, x):
    """Returns logits."""
    x = nn.leaky_relu(nn.Dense(128)(x.reshape(x.shape[0], -1)), 0.2)
    return nn.Dense(1)(nn.leaky_relu(nn.Dense(128)(x), 0.2))[:, 0]


def unused(*_) -> Any:
  """Stands for `evaluate` and `predict`, which a train step does not call."""
  raise NotImplementedError


def generate(params, key, size) -> Any:
  """Returns `size` images of the generator."""
  latents = jax.random.normal(key, (size, LATENT))
  return Generator().apply({"params": params}, latents)


def discriminate(params, images):
  """Returns the logits of the discriminator."""
  return Discriminator().apply({"params": params}, images)


def cross_entropy(logits, real):
  """Returns the total of the binary cross-entropy, and its weight."""
  labels = jnp.full_like(logits, float(real))
  losses = optax.sigmoid_binary_cross_entropy(logits, labels)
  return jnp.sum(losses), jnp.float32(losses.size)


def generator_task():
  """Returns the task of fooling a frozen discriminator."""

  def init(key, batch):
    params = Generator().init(key, jnp.zeros((1, LATENT)))["params"]
    return params, {FROZEN: {}}

  def loss(params, model_state, batch, key):
    images = generate(params, key, batch["image"].shape[0])
    logits = discriminate(model_state[FROZEN], images)
    return cross_entropy(logits, real=True), (model_state, {})

  return Task(init, loss, evaluate=unused, predict=unused)


def discriminator_task():
  """Returns the task of separating real images from generated ones.

  The generator is frozen. The loss is the mean over as many generated images
  as real ones.
  """

  def init(key, batch):
    params = Discriminator().init(key, jnp.zeros((1, 8, 8, 1)))["params"]
    return params, {FROZEN: {}}

  def loss(params, model_state, batch, key):
    real = batch["image"] / 127.5 - 1
    fake = generate(model_state[FROZEN], key, real.shape[0])
    total, weight = cross_entropy(discriminate(params, real), real=True)
    other, more = cross_entropy(discriminate(params, fake), real=False)
    return (total + other, weight + more), (model_state, {})

  return Task(init, loss, evaluate=unused, predict=unused)


def make_iteration(tasks, optimizers):
  """Returns `(players, batch) -> (players, losses)`, one step of each."""
  steps = {
    name: training.make_step(task, optimizers[name])
    for name, task in tasks.items()
  }

  def iteration(players, batch):
    losses = {}
    for name, other in (("d", "g"), ("g", "d")):
      frozen = {FROZEN: players[other].params}
      state = players[name].replace(model_state=frozen)
      state, log = steps[name](state, batch)
      # The other player's weights are not kept twice.
      players = {**players, name: state.replace(model_state={FROZEN: {}})}
      losses[name] = log["loss"]
    return players, losses

  return iteration


def distance(params, images):
  """Returns how far mean and deviation of the pixels are from the data's."""
  fake = generate(params, jax.random.key(1), 1000)
  real = images / 127.5 - 1
  mean = jnp.sqrt(jnp.mean((fake.mean(0) - real.mean(0)) ** 2))
  deviation = jnp.sqrt(jnp.mean((fake.std(0) - real.std(0)) ** 2))
  return float(mean + deviation)


def main(steps=3000):
  """Trains both players; returns the distance before and after."""
  train = data.load("digits").train
  images = train.read(np.arange(train.size))["image"]
  tasks = {"d": discriminator_task(), "g": generator_task()}
  optimizers = {
    "d": optim.create("adam", learning_rate=3e-4, b1=0.5),
    "g": optim.create("adam", learning_rate=3e-4, b1=0.5),
  }
  order = data.shuffled(train.size, batch_size=64)
  example = next(data.batches(train, order, seed=0))
  players = {
    name: training.init_state(task, optimizers[name], example, seed=seed)
    for seed, (name, task) in enumerate(tasks.items())
  }
  start = distance(players["g"].params, images)
  iteration = jax.jit(make_iteration(tasks, optimizers))
  for batch in data.batches(train, order, seed=0, stop=steps):
    players, losses = iteration(players, batch)
  print({name: round(float(loss), 3) for name, loss in losses.items()})
  return start, distance(players["g"].params, images)


if __name__ == "__main__":
  print("distance of the pixels: {:.3f} -> {:.3f}".format(*main()))

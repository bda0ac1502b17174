"""Every optimizer and every schedule trains a small model."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore import data, models, optim, tasks, training

# Rates for both problems below.
RATES = {
  "adabelief": 0.01,
  "adadelta": 10.0,
  "adafactor": 0.1,
  "adagrad": 0.1,
  "adam": 0.01,
  "adamax": 0.02,
  "adamw": 0.01,
  "adan": 0.01,
  "ademamix": 0.01,
  "adopt": 0.01,
  "amsgrad": 0.01,
  "lamb": 0.03,
  "lars": 0.2,
  "lion": 0.003,
  "momentum": 0.05,
  "muon": 0.05,
  "nadam": 0.01,
  "nesterov": 0.05,
  "novograd": 0.03,
  "prodigy": 1.0,
  "radam": 0.02,
  "rmsprop": 0.005,
  "schedule_free_adamw": 0.02,
  "schedule_free_sgd": 0.3,
  "sgd": 0.3,
  "yogi": 0.03,
}
# Compiling takes the time.
jit = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)
# The default trust ratio is for rates of very large batches, at which biases,
# which have no trust ratio, diverge.
SETTINGS = {"lars": {"trust_coefficient": 0.05}}


def create(name, **settings):
  settings |= SETTINGS.get(name, {})
  return optim.create(name, learning_rate=RATES[name], **settings)


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_every_optimizer_minimizes_a_quadratic(name):
  tx = create(name)
  params = {"dense": {"kernel": jnp.ones((3, 2)), "bias": jnp.full(2, -1.0)}}

  def loss(params):
    return sum(jnp.mean(leaf**2) for leaf in jax.tree.leaves(params))

  def step(carry, _):
    params, state = carry
    updates, state = tx.update(jax.grad(loss)(params), state, params)
    return (optax.apply_updates(params, updates), state), None

  start = (params, tx.init(params))
  (params, state), _ = jit(lambda start: jax.lax.scan(step, start, length=300))(
    start
  )
  assert loss(optim.evaluation_params(state, params)) < 0.02


@functools.cache
def digits():
  source = data.load("digits").train
  model = models.create("mlp", num_classes=10, widths=(32,))
  task = tasks.TASKS["classification"].build(model, source.info)
  # Initialized once: compiling it takes as long as the training.
  batch = {"image": source.arrays["image"][:1]}
  start = jax.device_get(jit(task.init)(jax.random.key(0), batch))
  return source, task._replace(init=lambda key, batch: start)


STEPS = 60
BETTER = 0.5 * math.log(10)  # Half the loss of a uniform prediction.


@functools.cache
def batches():
  source, _ = digits()
  order = data.shuffled(source.size, 64)
  indices = [order(0, i).index for i in range(STEPS)]
  return jax.tree.map(lambda array: array[np.stack(indices)], source.arrays)


def loss(tx) -> float:
  """Trains on digits; returns the mean loss of the last ten steps."""
  _, task = digits()
  params, model_state = task.init(None, None)
  key = jax.random.key(0)

  def mean(params, model_state, batch):
    (total, weight), (model_state, _) = task.loss(
      params, model_state, batch, key
    )
    return total / weight, model_state

  def step(carry, batch):
    params, model_state, state = carry
    (value, model_state), gradient = jax.value_and_grad(mean, has_aux=True)(
      params, model_state, batch
    )
    updates, state = tx.update(gradient, state, params)
    return (optax.apply_updates(params, updates), model_state, state), value

  @jit
  def train(params, model_state, batches):
    start = (params, model_state, tx.init(params))
    return jax.lax.scan(step, start, batches)[1]

  return float(train(params, model_state, batches())[-10:].mean())


@pytest.mark.slow  # Every optimizer minimizes a quadratic in the fast tier.
@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_every_optimizer_learns_digits(name):
  assert loss(create(name, clip_norm=1.0)) < BETTER


# States with moments, factored moments, an estimate of the rate, the momentum
# of matrices, an average of iterates.
@pytest.mark.fast_cases("adafactor", "schedule_free_sgd")
@pytest.mark.parametrize(
  "name", ["adamw", "adafactor", "prodigy", "muon", "schedule_free_sgd"]
)
def test_fit_trains_with_every_kind_of_state(name):
  source, task = digits()
  state = training.fit(
    task,
    create(name, clip_norm=1.0),
    source,
    steps=STEPS,
    batch_size=64,
    log_every=10,
    devices=jax.local_devices()[:1],
    progress=False,
  ).last
  total, count = state.metrics["loss"]
  assert total / count < BETTER


@pytest.mark.fast_cases("cosine", "plateau")
@pytest.mark.parametrize("name", optim.SCHEDULES)
def test_every_schedule_learns_digits(name):
  settings = {"warmup_steps": 10} if name == "inverse_sqrt" else {}
  rate = optim.schedule(name, learning_rate=0.01, steps=STEPS, **settings)
  assert loss(optim.create("adamw", learning_rate=rate)) < BETTER

"""Every optimizer and schedule of the tables under the same tests."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore import optim
from dlcore.errors import UserError

PARAMS = {"dense": {"kernel": jnp.full((3, 2), 2.0), "bias": jnp.full(2, 2.0)}}


def descend(tx, steps=300):
  params, state = PARAMS, tx.init(PARAMS)

  @jax.jit
  def step(params, state):
    grads = jax.grad(lambda p: sum(jnp.sum(x**2) for x in jax.tree.leaves(p)))(
      params
    )
    updates, state = tx.update(grads, state, params)
    return optax.apply_updates(params, updates), state

  for _ in range(steps):
    params, state = step(params, state)
  return params


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_every_optimizer_finds_the_bottom_of_a_bowl(name):
  params = descend(optim.create(name, learning_rate=0.03))
  assert max(jnp.abs(leaf).max() for leaf in jax.tree.leaves(params)) < 0.05


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_decay_is_decoupled_and_spares_biases(name):
  tx = optim.create(name, learning_rate=0.1, weight_decay=0.5)
  zero = jax.tree.map(jnp.zeros_like, PARAMS)
  updates, _ = tx.update(zero, tx.init(PARAMS), PARAMS)
  np.testing.assert_allclose(updates["dense"]["kernel"], -0.1, rtol=1e-6)
  np.testing.assert_array_equal(updates["dense"]["bias"], 0)


def test_clipping_bounds_the_global_norm_and_keeps_the_direction():
  tx = optim.create("sgd", learning_rate=1.0, clip_norm=0.5)
  grads = jax.tree.map(lambda p: 10 * p, PARAMS)
  updates, _ = tx.update(grads, tx.init(PARAMS), PARAMS)
  np.testing.assert_allclose(optax.tree.norm(updates), 0.5, rtol=1e-6)
  ratio = updates["dense"]["kernel"] / grads["dense"]["kernel"]
  np.testing.assert_allclose(ratio, ratio[0, 0])


@pytest.mark.parametrize("name", optim.SCHEDULES)
def test_every_schedule_starts_ends_and_stays_in_range(name):
  rate = optim.schedule(name, learning_rate=0.1, steps=2000)
  values = np.array([float(rate(step)) for step in range(0, 2001, 50)])
  assert values.max() == pytest.approx(0.1)
  assert values.min() >= 0


def test_warmup_cosine_rises_falls_and_lands():
  rate = optim.schedule(
    "warmup_cosine",
    learning_rate=1.0,
    steps=100,
    warmup=0.2,
    initial=0.1,
    final=0.05,
  )
  values = [float(rate(step)) for step in (0, 10, 20, 60, 100)]
  np.testing.assert_allclose(values, [0.1, 0.55, 1.0, 0.525, 0.05], rtol=1e-5)


def test_step_schedule_falls_after_each_boundary():
  rate = optim.schedule(
    "step", learning_rate=1.0, steps=9, boundaries=(3, 6), factor=0.1
  )
  values = [float(rate(step)) for step in (0, 2, 4, 7)]
  np.testing.assert_allclose(values, [1, 1, 0.1, 0.01], rtol=1e-6)


def test_penalty_has_the_gradient_that_it_says_and_spares_biases():
  gradient = jax.grad(optim.penalty(l1=0.25, l2=0.5))(PARAMS)
  np.testing.assert_allclose(gradient["dense"]["kernel"], 0.25 + 0.5 * 2)
  np.testing.assert_array_equal(gradient["dense"]["bias"], 0)
  assert optim.penalty() is None


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (lambda: optim.create("adma", learning_rate=1.0), "did you mean 'adam'"),
    (lambda: optim.create("sgd", learning_rate=1.0, clip_norm=-1), "clip_norm"),
    (
      lambda: optim.create("sgd", learning_rate=1.0, weight_decay=-1),
      "weight_decay",
    ),
    (
      lambda: optim.schedule("cosine", learning_rate=1.0, steps=1),
      "warmup_cosine",
    ),
    (
      lambda: optim.schedule("constant", learning_rate=-1.0, steps=1),
      "learning_rate",
    ),
    (
      lambda: optim.schedule(
        "warmup_cosine", learning_rate=1.0, steps=9, warmup=2.0
      ),
      "warmup",
    ),
    (lambda: optim.penalty(l2=-1.0), "l2"),
    (lambda: optim.create("adamw", learning_rate=1.0, eps=0.0), "eps"),
  ],
)
def test_what_is_out_of_range_is_refused(call, message):
  with pytest.raises(UserError, match=message):
    call()

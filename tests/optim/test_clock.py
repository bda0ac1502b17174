"""Schedules read the trainer's step; the state records the applied rate."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore import optim

PARAMS = {"kernel": np.full((2, 3), 2.0, np.float32)}
GRADS = {"kernel": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)}


def ramp(step):
  return 0.1 * (step + 1)


def train(tx, steps, **settings):
  """Applies one update at each of `steps`; returns parameters and state."""
  params, state = PARAMS, tx.init(PARAMS)
  update = jax.jit(functools.partial(tx.update, **settings))
  for step in steps:
    updates, state = update(GRADS, state, params, step=step)
    params = optax.apply_updates(params, updates)
  return params, state


def test_skipped_updates_do_not_delay_the_schedule():
  rate = optim.schedule("linear", learning_rate=1.0, steps=12)
  tx = optim.create("sgd", learning_rate=rate)
  skipped = {3, 4, 7}
  applied = [step for step in range(12) if step not in skipped]
  params, state = train(tx, applied)
  np.testing.assert_allclose(optim.applied_rate(state), 1 / 12, rtol=1e-6)
  total = sum(1 - step / 12 for step in applied)
  np.testing.assert_allclose(
    params["kernel"], PARAMS["kernel"] - total * GRADS["kernel"], rtol=1e-6
  )


def test_bias_correction_counts_applied_updates_only():
  tx = optim.create("adam", learning_rate=0.1)
  with_gaps, _ = train(tx, [0, 1, 5, 9])
  without, _ = train(tx, [0, 1, 2, 3])
  np.testing.assert_array_equal(with_gaps["kernel"], without["kernel"])


def test_a_loop_without_a_step_counts_updates():
  tx = optim.create("adam", learning_rate=ramp)
  params, state = PARAMS, tx.init(PARAMS)
  for _ in range(3):
    updates, state = tx.update(GRADS, state, params)
    params = optax.apply_updates(params, updates)
  expected, _ = train(tx, [0, 1, 2])
  np.testing.assert_allclose(params["kernel"], expected["kernel"], rtol=1e-6)
  np.testing.assert_allclose(optim.applied_rate(state), 0.3, rtol=1e-6)


def test_the_applied_rate_includes_rate_scale_and_is_float32():
  tx = optim.create("adam", learning_rate=ramp)
  _, state = train(tx, [0, 4], rate_scale=0.5)
  rate = optim.applied_rate(state)
  assert rate.dtype == jnp.float32
  np.testing.assert_allclose(rate, 0.25, rtol=1e-6)
  assert optim.applied_rate(tx.init(PARAMS)) == 0


@pytest.mark.parametrize(
  "wrap",
  [
    lambda tx: optax.chain(optax.scale(1.0), tx),
    lambda tx: optax.MultiSteps(tx, 1).gradient_transformation(),
    lambda tx: optax.masked(tx, {"kernel": True}),
  ],
)
def test_the_applied_rate_is_read_from_nested_states(wrap):
  _, state = train(wrap(optim.create("adam", learning_rate=ramp)), [3])
  np.testing.assert_allclose(optim.applied_rate(state), 0.4, rtol=1e-6)


def test_the_applied_rate_is_read_from_inject_hyperparams():
  tx = optax.inject_hyperparams(optax.sgd)(learning_rate=ramp)
  state = tx.init(PARAMS)
  for _ in range(2):
    updates, state = tx.update(GRADS, state, PARAMS)
  rate = optim.applied_rate(state)
  np.testing.assert_allclose(updates["kernel"], -rate * GRADS["kernel"])
  assert optim.applied_rate(optax.adam(0.1).init(PARAMS)) is None
  other = optax.inject_hyperparams(optax.trace)(decay=0.9)
  assert optim.applied_rate(other.init(PARAMS)) is None


def test_schedule_free_weighs_its_average_by_the_applied_rates():
  tx = optim.create("schedule_free_sgd", learning_rate=ramp)
  steps, scales = [0, 3, 4, 9], [1.0, 1.0, 0.5, 0.25]
  params, state = PARAMS, tx.init(PARAMS)
  fast, iterates, weights, peak = PARAMS["kernel"], [], [], 0.0
  for step, scale in zip(steps, scales, strict=True):
    # The gradient does not depend on the parameters.
    updates, state = tx.update(
      GRADS, state, params, step=step, rate_scale=scale
    )
    params = optax.apply_updates(params, updates)
    rate = ramp(step) * scale
    fast = fast - rate * GRADS["kernel"]
    peak = max(peak, rate)
    iterates.append(fast)
    weights.append(peak**2)
  average = np.average(iterates, axis=0, weights=weights)
  evaluated = optim.evaluation_params(state, params)["kernel"]
  np.testing.assert_allclose(evaluated, average, rtol=1e-5)

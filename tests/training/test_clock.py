"""One clock: schedules read `state.step`; skipped updates do not delay it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import problem
import pytest

from dlcore import data, optim, tasks, training

STEPS = 12
SKIPPED = (3, 4, 7)
LINEAR = optim.schedule("linear", learning_rate=0.3, steps=STEPS)


def make_batch(batch_index):
  rows = problem.indices(batch_index)
  return {
    **problem.source(50).read(rows),
    "index": rows,
    "slot": np.arange(16, dtype=np.int32),
  }


@functools.cache
def trajectory(name):
  """Returns (state before, gradients, applied, log, state after) by step."""
  task = problem.spoiled(*SKIPPED)(
    tasks.classification(problem.Net(dropout=0.0))
  )
  tx = optim.create(name, learning_rate=LINEAR)
  step = training.guard(training.make_step(task, tx), max_consecutive_skips=3)
  step = jax.jit(step)
  update = jax.jit(training.make_update(task, tx))
  state = training.init_state(
    task, tx, make_batch(0), guard=training.init_guard()
  )
  rows = []
  for i in range(STEPS):
    batch = make_batch(i)
    new, log = step(state, batch)
    rows.append(
      (state, update(state, batch).grads, bool(log["applied"]), log, new)
    )
    state = new
  return rows


def test_the_clock_advances_with_every_batch():
  rows = trajectory("sgd")
  assert [int(new.step) for *_, new in rows] == list(range(1, STEPS + 1))
  assert [int(new.batch_index) for *_, new in rows] == list(range(1, STEPS + 1))
  skipped = [i for i, row in enumerate(rows) if not row[2]]
  assert skipped == list(SKIPPED)


def test_the_applied_rate_is_the_schedule_at_the_step():
  for state, grads, applied, log, new in trajectory("sgd"):
    rate = float(LINEAR(state.step))
    assert float(log["learning_rate"]) == pytest.approx(rate, rel=1e-6)
    if not applied:
      problem.assert_equal(new.params, state.params)
      continue
    expected = jax.tree.map(lambda p, g, r=rate: p - r * g, state.params, grads)
    for path, leaf in problem.leaves(new.params).items():
      np.testing.assert_allclose(
        leaf, problem.leaves(expected)[path], rtol=1e-5, atol=1e-7
      )


def test_the_schedule_reaches_its_end():
  *_, log, new = trajectory("sgd")[-1]
  assert float(log["learning_rate"]) == pytest.approx(0.3 / STEPS, rel=1e-5)
  assert float(LINEAR(new.step)) == 0
  assert float(optim.applied_rate(new.opt_state)) == float(log["learning_rate"])


@pytest.mark.parametrize(
  "name", ["adamw", pytest.param("adam", marks=pytest.mark.slow)]
)
def test_bias_correction_counts_the_applied_updates(name):
  applied = 0
  for _, _, was_applied, _, new in trajectory(name):
    applied += was_applied
    counts = optax.tree_utils.tree_get_all_with_path(new.opt_state, "count")
    assert len(counts) >= 1
    assert {int(count) for _, count in counts} == {applied}
  assert applied == STEPS - len(SKIPPED)


@pytest.mark.slow
def test_the_log_of_a_run_shows_the_applied_rates(tmp_path):
  problem.fit(
    tmp_path,
    steps=STEPS,
    rate=LINEAR,
    wrap=problem.spoiled(*SKIPPED),
    log_every=1,
  )
  rows = problem.lines(tmp_path, "train")
  assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
  for row in rows:
    rate = float(LINEAR(row["step"] - 1))
    assert row["learning_rate"] == pytest.approx(rate, rel=1e-5), row


@pytest.mark.slow
def test_a_roll_back_scales_the_logged_and_applied_rate(tmp_path):
  result = problem.fit(
    tmp_path,
    steps=STEPS,
    rate=LINEAR,
    wrap=problem.spoiled(5, 6, 7),
    log_every=1,
    checkpoint_every=4,
  )
  assert float(result.last.rate_scale) == 0.5
  for row in problem.lines(tmp_path, "train"):
    scale = 0.5 if row["step"] > 4 else 1.0
    rate = scale * float(LINEAR(row["step"] - 1))
    assert row["learning_rate"] == pytest.approx(rate, rel=1e-5), row


@pytest.mark.parametrize("recorded", [False, True])
def test_the_rate_of_any_optax_transformation_is_scaled(recorded):
  """Such as after a rollback, whether its rate is in the log or not."""
  make = optax.inject_hyperparams(optax.adam) if recorded else optax.adam
  tx = optax.chain(optax.clip_by_global_norm(1.0), make(learning_rate=0.1))
  task = tasks.classification(problem.Net(dropout=0.0))
  batch = next(data.batches(problem.source(50), data.shuffled(50, 16), 0, 0, 1))
  state = training.init_state(task, tx, batch)
  half = state.replace(rate_scale=jnp.float32(0.5))
  update = jax.jit(training.make_update(task, tx))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, 2 * b, rtol=1e-6),
    update(state, batch).updates,
    update(half, batch).updates,
  )
  _, log = jax.jit(training.make_step(task, tx))(half, batch)
  assert ("learning_rate" in log) == recorded
  if recorded:
    assert float(log["learning_rate"]) == pytest.approx(0.05)

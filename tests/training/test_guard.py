"""Updates that are not finite are skipped; a run rolls back, also if killed."""

import os
import signal

import jax.numpy as jnp
import numpy as np
import problem
import pytest

from dlcore import storage, training
from dlcore.errors import UserError
from dlcore.training.monitor import Monitor


@pytest.mark.parametrize(
  ("placement", "steps_per_call"),
  [("device", 4), pytest.param("stream", 1, marks=pytest.mark.slow)],
)
def test_an_update_that_is_not_finite_is_skipped(
  tmp_path, placement, steps_per_call, caplog
):
  state = problem.fit(
    tmp_path,
    wrap=problem.spoiled(5, 7, 22),
    placement=placement,
    steps_per_call=steps_per_call,
  ).last
  assert int(state.step) == int(state.batch_index) == 40
  assert int(state.guard["skipped"]) == 3
  assert float(state.rate_scale) == 1
  assert "skipped updates" in caplog.text
  for path, leaf in problem.leaves(state).items():
    assert np.isfinite(leaf).all(), path
  for line in problem.lines(tmp_path):
    assert all(np.isfinite(v) for v in line.values() if not isinstance(v, str))


@pytest.mark.slow
def test_a_skipped_update_changes_only_the_clock_and_the_counts():
  # Neither run evaluates before its end, so both have made no decision.
  short = problem.fit(steps=5, eval_every=100).last
  longer = problem.fit(steps=6, eval_every=100, wrap=problem.spoiled(5)).last
  before, after = problem.leaves(short), problem.leaves(longer)
  assert before.keys() == after.keys()
  differ = {path for path in before if (before[path] != after[path]).any()}
  assert {path for path in differ if not path.startswith("metrics/")} == {
    "step",
    "batch_index",
    "guard/skipped",
    "guard/consecutive",
  }


@pytest.mark.slow
def test_several_skips_in_a_row_roll_back_with_half_the_rate(tmp_path, caplog):
  state = problem.fit(tmp_path, wrap=problem.spoiled(33, 34, 35)).last
  assert "rolling back to step 30" in caplog.text
  assert int(state.step) == 40
  assert int(state.batch_index) == 40 + 6
  assert float(state.rate_scale) == 0.5
  assert int(state.guard["skipped"]) == 3
  steps = [line["step"] for line in problem.lines(tmp_path)]
  assert steps == sorted(steps)
  problem.fit(tmp_path / "clean")
  assert steps == [line["step"] for line in problem.lines(tmp_path / "clean")]


@pytest.mark.slow
def test_skips_before_the_first_save_restart_the_run(tmp_path, caplog):
  state = problem.fit(tmp_path, wrap=problem.spoiled(3, 4, 5)).last
  assert "rolling back to step 0" in caplog.text
  assert int(state.batch_index) == 46


@pytest.mark.slow
@pytest.mark.parametrize(
  ("stop", "checkpoint_every"),
  [(34, 10), (38, 0), (31, 10), (38, 10), (31, 0), (34, 0)],
)
def test_a_kill_around_the_failure_changes_no_bit(
  tmp_path, monkeypatch, stop, checkpoint_every
):
  settings = {
    "wrap": problem.spoiled(33, 34, 35),
    "checkpoint_every": checkpoint_every,
    "log_every": 1,
  }
  expected = problem.fit(tmp_path / "straight", **settings)
  add, killed = Monitor.add, []

  def kill(self, step, count, log):
    add(self, step, count, log)
    if step + count == stop and not killed:
      killed.append(step)
      os.kill(os.getpid(), signal.SIGTERM)

  with monkeypatch.context() as patch:
    patch.setattr(Monitor, "add", kill)
    with pytest.raises(training.Stopped):
      problem.fit(tmp_path / "killed", **settings)
  result = problem.fit(tmp_path / "killed", **settings)
  problem.assert_equal(result, expected)
  folders = (tmp_path / "killed", tmp_path / "straight")
  problem.assert_equal(*map(problem.saved, folders))
  assert problem.lines(folders[0]) == problem.lines(folders[1])


@pytest.mark.slow
def test_a_failure_that_repeats_ends_with_its_origin_and_batch(tmp_path):
  def always(task):
    def loss(params, model_state, batch, key):
      (total, weight), rest = task.loss(params, model_state, batch, key)
      return (jnp.log(-jnp.abs(total) - 1), weight), rest

    return task._replace(loss=loss)

  with pytest.raises(
    UserError, match="the updates of steps 1 to 3 were skipped"
  ) as caught:
    problem.fit(tmp_path, wrap=always, max_rollbacks=2)
  assert "(log)" in caught.value.lines[1]
  with np.load(tmp_path / "failure.npz") as kept:
    assert kept["image"].shape == (16, 4, 4, 1)
    # It rolled back twice: the batches 0 to 5 were skipped before.
    np.testing.assert_array_equal(kept["index"], problem.indices(8))


@pytest.mark.slow
def test_progress_resets_the_count_of_roll_backs(tmp_path):
  wrap = problem.spoiled(13, 14, 15, 33, 34, 35, 51, 52, 53)
  state = problem.fit(tmp_path, wrap=wrap, max_rollbacks=1).last
  assert int(state.step) == 40
  assert float(state.rate_scale) == 0.125


@pytest.mark.slow
def test_a_spike_is_skipped_if_spike_factor_is_set():
  wrap = problem.spoiled(30, factor=1e4)
  assert int(problem.fit(wrap=wrap).last.guard["skipped"]) == 0
  state = problem.fit(wrap=wrap, spike_factor=50.0).last
  assert int(state.guard["skipped"]) == 1


@pytest.mark.slow
def test_a_run_without_roll_backs_stops_at_the_first_failure():
  with pytest.raises(UserError, match="steps 34 to 36 were skipped"):
    problem.fit(wrap=problem.spoiled(33, 34, 35), max_rollbacks=0)


@pytest.mark.slow
def test_a_run_that_restarts_and_stops_again_continues(tmp_path, monkeypatch):
  """The first stop saves step 3, the second one step 2 of the second try."""
  spoil = {"wrap": problem.spoiled(3, 4, 5)}

  def stop_after(step, rolled_back):
    add = Monitor.add

    def stop(self, first, count, log):
      add(self, first, count, log)
      if first + count == step and rolled_back == self.rolled_back:
        os.kill(os.getpid(), signal.SIGTERM)

    def reset(self):
      Monitor.rolled_back = True
      original_reset(self)

    original_reset = Monitor.reset
    with monkeypatch.context() as patch:
      patch.setattr(Monitor, "rolled_back", False, raising=False)
      patch.setattr(Monitor, "add", stop)
      patch.setattr(Monitor, "reset", reset)
      with pytest.raises(training.Stopped, match=f"after step {step}"):
        problem.fit(tmp_path, **spoil)

  stop_after(3, rolled_back=False)
  stop_after(2, rolled_back=True)
  result = problem.fit(tmp_path, **spoil)
  problem.assert_equal(result, problem.fit(**spoil))


@pytest.mark.slow
def test_a_damaged_checkpoint_to_roll_back_to_stops_the_run(
  tmp_path, monkeypatch
):
  roll_back = storage.Checkpoints.roll_back

  def damaged(self, step, template):
    self.wait()
    (self.folder / str(step) / "checkpoint" / "more").write_text("x")
    return roll_back(self, step, template)

  monkeypatch.setattr(storage.Checkpoints, "roll_back", damaged)
  with pytest.raises(UserError, match="good checkpoint of step 30"):
    problem.fit(tmp_path, wrap=problem.spoiled(33, 34, 35))

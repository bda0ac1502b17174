"""Bad updates are passed over; a run goes back, and after a kill too."""

import json
import os
import signal

import jax.numpy as jnp
import numpy as np
import problem
import pytest
from dlcore.training.watch import Watch

from dlcore import data, training
from dlcore.errors import UserError
from dlcore.training import checkpoint

TIMES = ("seconds", "examples_per_second")


def lines(workdir):
  found = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
  return [{k: v for k, v in line.items() if k not in TIMES} for line in found]


def spoiled(*numbers, factor=jnp.nan):
  """Makes the loss of the batches `numbers` `factor` times as large."""
  bad = np.stack([data.indices(0, number, 50, 16) for number in numbers])

  def wrap(task):
    def loss(params, extra, batch, key):
      index = batch["index"]  # Two rows only where the state is made.
      hit = jnp.any(jnp.all(index == bad[:, : len(index)], axis=1))
      (total, weight), rest = task.loss(params, extra, batch, key)
      return (total * jnp.where(hit, factor, 1.0), weight), rest

    return task._replace(loss=loss)

  return wrap


@pytest.mark.parametrize(
  ("placement", "steps_per_call"), [("device", 4), ("stream", 1)]
)
def test_a_bad_batch_is_passed_over(
  tmp_path, placement, steps_per_call, caplog
):
  state = problem.fit(
    tmp_path,
    wrap=spoiled(5, 7, 22),
    placement=placement,
    steps_per_call=steps_per_call,
  )
  assert int(state.step) == int(state.batch_index) == 40
  assert int(state.trouble["skipped"]) == 3
  assert float(state.rate_scale) == 1
  assert "not applied" in caplog.text
  for path, leaf in problem.leaves(state).items():
    if path != "decided/best_value":
      assert np.isfinite(leaf).all(), path
  for line in lines(tmp_path):
    assert all(np.isfinite(v) for v in line.values() if not isinstance(v, str))


def test_an_update_that_is_not_applied_leaves_all_but_the_counts():
  short = problem.fit(steps=5, eval_every=100)
  longer = problem.fit(steps=6, eval_every=100, wrap=spoiled(5))
  before, after = problem.leaves(short), problem.leaves(longer)
  differ = {path for path in before if (before[path] != after[path]).any()}
  counts = {
    "step",
    "batch_index",
    "trouble/skipped",
    "trouble/in_a_row",
    "decided/good",
    "decided/seen",
    "decided/best_step",
  }
  assert {path for path in differ if not path.startswith("metrics/")} <= {
    *counts,
    "decided/best_value",
  }


def test_several_in_a_row_go_back_with_half_the_rate(tmp_path, caplog):
  state = problem.fit(tmp_path, wrap=spoiled(33, 34, 35))
  assert "going back to step 30" in caplog.text
  assert int(state.step) == 40
  assert int(state.batch_index) == 40 + 6
  assert float(state.rate_scale) == 0.5
  assert int(state.trouble["skipped"]) == 3
  steps = [line["step"] for line in lines(tmp_path)]
  assert steps == sorted(steps)
  clean = problem.fit(tmp_path / "clean")
  del clean
  assert steps == [line["step"] for line in lines(tmp_path / "clean")]


def test_trouble_before_the_first_save_starts_anew(tmp_path, caplog):
  state = problem.fit(tmp_path, wrap=spoiled(3, 4, 5))
  assert "going back to step 0" in caplog.text
  assert int(state.batch_index) == 46


@pytest.mark.parametrize("stop", [31, 34, 38])
@pytest.mark.parametrize("checkpoint_every", [10, 0])
def test_a_kill_around_the_trouble_changes_no_bit(
  tmp_path, monkeypatch, stop, checkpoint_every
):
  settings = {
    "wrap": spoiled(33, 34, 35),
    "checkpoint_every": checkpoint_every,
    "log_every": 1,
  }
  wanted = problem.leaves(problem.fit(tmp_path / "straight", **settings))
  add, killed = Watch.add, []

  def kill(self, step, count, log):
    add(self, step, count, log)
    if step + count == stop and not killed:
      killed.append(step)
      os.kill(os.getpid(), signal.SIGTERM)

  with monkeypatch.context() as patch:
    patch.setattr(Watch, "add", kill)
    with pytest.raises(training.Stopped):
      problem.fit(tmp_path / "killed", **settings)
  got = problem.leaves(problem.fit(tmp_path / "killed", **settings))
  for path, leaf in wanted.items():
    assert leaf.tobytes() == got[path].tobytes(), path
  assert lines(tmp_path / "killed") == lines(tmp_path / "straight")


def test_what_does_not_help_ends_with_the_place_and_the_batch(tmp_path):
  def always(task):
    def loss(params, extra, batch, key):
      (total, weight), rest = task.loss(params, extra, batch, key)
      return (jnp.log(-jnp.abs(total) - 1), weight), rest

    return task._replace(loss=loss)

  with pytest.raises(UserError, match="steps 1 to 3 were not applied") as told:
    problem.fit(tmp_path, wrap=always, recoveries=2)
  assert "(log)" in told.value.lines[1]
  with np.load(tmp_path / "failure.npz") as kept:
    assert kept["image"].shape == (16, 4, 4, 1)
    # Twice it went back: the batches 0 to 5 were passed over before.
    np.testing.assert_array_equal(kept["index"], data.indices(0, 8, 50, 16))


def test_progress_forgets_past_recoveries(tmp_path):
  wrap = spoiled(13, 14, 15, 33, 34, 35, 51, 52, 53)
  state = problem.fit(tmp_path, wrap=wrap, recoveries=1)
  assert int(state.step) == 40
  assert float(state.rate_scale) == 0.125


def test_a_spike_is_passed_over_where_it_is_told_to():
  wrap = spoiled(30, factor=1e4)
  assert int(problem.fit(wrap=wrap).trouble["skipped"]) == 0
  state = problem.fit(wrap=wrap, spike=50.0)
  assert int(state.trouble["skipped"]) == 1


def test_a_run_without_a_folder_stops():
  with pytest.raises(UserError, match="steps 34 to 36 were not applied"):
    problem.fit(wrap=spoiled(33, 34, 35))


def test_a_lost_step_to_go_back_to_stops_the_run(tmp_path, monkeypatch):
  go_back = checkpoint.Checkpoints.go_back

  def damaged(self, step, template):
    self.wait()
    (self.folder / str(step) / "state" / "more").write_text("x")
    return go_back(self, step, template)

  monkeypatch.setattr(checkpoint.Checkpoints, "go_back", damaged)
  with pytest.raises(UserError, match="were not applied"):
    problem.fit(tmp_path, wrap=spoiled(33, 34, 35))

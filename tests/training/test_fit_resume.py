"""A run that was stopped in any way ends like one that was not."""

import os
import signal

import numpy as np
import problem
import pytest

from dlcore import data, storage, training
from dlcore.training.evaluation import Evaluator
from dlcore.training.monitor import Monitor


@pytest.fixture(scope="module", autouse=True)
def optimized():
  with problem.optimized():
    yield


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("straight")
  return workdir, problem.fit(workdir)


def assert_same_run(workdir, result, straight):
  """Compares states, decisions, log and texts with those of `straight`."""
  problem.assert_equal(result, straight[1])
  problem.assert_equal(problem.saved(workdir), problem.saved(straight[0]))
  assert problem.lines(workdir) == problem.lines(straight[0])
  assert problem.samples(workdir) == problem.samples(straight[0])


@pytest.mark.fast_cases("13-device")
@pytest.mark.parametrize("placement", ["device", "stream"])
@pytest.mark.parametrize("stop", [1, 13, 20])
def test_sigterm_and_resume_equals_straight_in_every_leaf(
  straight, tmp_path, monkeypatch, placement, stop
):
  """Step 13 lies in the middle of an epoch and of a line of the log."""
  add = Monitor.add

  def kill(self, step, count, log):
    add(self, step, count, log)
    if step + count == stop:
      os.kill(os.getpid(), signal.SIGTERM)

  with monkeypatch.context() as patch:
    patch.setattr(Monitor, "add", kill)
    with pytest.raises(training.Stopped, match=f"SIGTERM after step {stop}"):
      problem.fit(tmp_path, placement=placement)
  assert storage.newest_step(tmp_path / "checkpoints") == stop
  result = problem.fit(tmp_path, placement=placement)
  assert_same_run(tmp_path, result, straight)


@pytest.mark.slow
def test_a_line_written_after_the_checkpoint_is_removed_and_written_again(
  straight, tmp_path, monkeypatch
):
  evaluate = Evaluator.__call__

  def fail(self, *arguments):
    if int(fail.calls) == 2:
      raise RuntimeError("power cut")
    fail.calls += 1
    return evaluate(self, *arguments)

  fail.calls = 0
  with monkeypatch.context() as patch:
    patch.setattr(Evaluator, "__call__", fail)
    with pytest.raises(RuntimeError, match="power cut"):
      problem.fit(tmp_path)
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write('{"step": 29, "split": "tra')
  assert_same_run(tmp_path, problem.fit(tmp_path), straight)


@pytest.mark.slow
def test_resident_and_streamed_data_give_the_same_bits(straight):
  problem.assert_equal(problem.fit(placement="stream"), straight[1])


@pytest.mark.slow
def test_several_steps_per_call_give_the_same_run(straight, tmp_path):
  result = problem.leaves(problem.fit(tmp_path, steps_per_call=4))
  for path, leaf in problem.leaves(straight[1]).items():
    if leaf.dtype == np.float32:
      scale = max(np.abs(leaf).max(), 1e-8)
      # One program and a loop may round differently on a CPU.
      assert np.abs(leaf - result[path]).max() / scale < 1e-5, path
    else:
      np.testing.assert_array_equal(leaf, result[path])
  steps = [line["step"] for line in problem.lines(tmp_path)]
  assert steps == [line["step"] for line in problem.lines(straight[0])]


def test_another_seed_gives_another_run(straight):
  other, kernel = (
    problem.leaves(state.params)["head/kernel"]
    for state in (problem.fit(seed=1).last, straight[1].last)
  )
  assert (other != kernel).any()


def test_a_finished_run_makes_no_step(straight):
  before = problem.lines(straight[0])
  problem.assert_equal(problem.fit(straight[0]), straight[1])
  assert problem.lines(straight[0]) == before


@pytest.mark.slow
def test_validation_decides_the_best_and_its_checkpoint_is_kept(tmp_path):
  result = problem.fit(tmp_path, eval_every=4, best_by="accuracy")
  folder = tmp_path / "checkpoints"
  valid = problem.lines(tmp_path, "valid")
  top = max(line["accuracy"] for line in valid)
  # Of two equal ones the later is the best.
  best = max(line["step"] for line in valid if line["accuracy"] == top)
  assert int(result.best.step) == best
  assert int(result.last.step) == 40
  kept = {int(path.name) for path in folder.iterdir()}
  assert kept == {36, 40, best}
  for step in (40, best):
    decisions = storage.read_checkpoint(folder, step)["decisions"]
    assert int(decisions["best_step"]) == best
  stored = problem.leaves(storage.read_checkpoint(folder, best)["state"])
  for path, leaf in problem.leaves(result.best).items():
    assert leaf.tobytes() == stored[path].tobytes(), path


@pytest.mark.slow
def test_training_learns(tmp_path, straight):
  # The images of two classes differ by a step of brightness, which 40 steps
  # learn without augmentation alone.
  problem.fit(tmp_path, augment=None)
  assert problem.lines(tmp_path, "valid")[-1]["accuracy"] > 0.9
  for path, leaf in problem.leaves(straight[1]).items():
    assert np.isfinite(leaf).all(), path


@pytest.mark.slow
def test_a_stop_inside_an_evaluation_leaves_it_to_the_next_run(
  straight, tmp_path, monkeypatch
):
  """The last evaluation, whose step is saved without it and then with it."""
  batches = data.evaluation_batches

  def kill(*arguments, **settings):
    kill.calls += 1
    if kill.calls == 6:  # One is for compiling, one for the record.
      os.kill(os.getpid(), signal.SIGTERM)
    return batches(*arguments, **settings)

  kill.calls = 0
  with monkeypatch.context() as patch:
    patch.setattr(data, "evaluation_batches", kill)
    with pytest.raises(training.Stopped, match="step 40"):
      problem.fit(tmp_path)
  assert problem.lines(tmp_path) == problem.lines(straight[0])[:-1]
  assert_same_run(tmp_path, problem.fit(tmp_path), straight)
  decisions = storage.read_checkpoint(tmp_path / "checkpoints", 40)["decisions"]
  assert decisions["evaluated_step"] == 40

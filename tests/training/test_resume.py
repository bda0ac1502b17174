"""A run that was stopped in any way ends like one that was not."""

import json
import os
import signal

import jax
import numpy as np
import problem
import pytest

from dlcore import training
from dlcore.training import checkpoint, evaluation, trainer
from dlcore.training.watch import Watch

TIMES = ("seconds", "examples_per_second")


def lines(workdir):
  found = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
  return [{k: v for k, v in line.items() if k not in TIMES} for line in found]


@pytest.fixture(scope="module", autouse=True)
def optimized():
  with problem.optimized():
    yield


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("straight")
  return workdir, problem.leaves(problem.fit(workdir))


def assert_equal(first, second):
  assert first.keys() == second.keys()
  for path, leaf in first.items():
    assert leaf.tobytes() == second[path].tobytes(), path


@pytest.mark.parametrize("placement", ["device", "stream"])
@pytest.mark.parametrize("stop", [1, 13, 20])
def test_sigterm_and_resume_equals_straight_in_every_leaf(
  straight, tmp_path, monkeypatch, placement, stop
):
  """Step 13 lies in the middle of an epoch and of a window of the log."""
  add = Watch.add

  def kill(self, step, count, log):
    add(self, step, count, log)
    if step + count == stop:
      os.kill(os.getpid(), signal.SIGTERM)

  with monkeypatch.context() as patch:
    patch.setattr(Watch, "add", kill)
    with pytest.raises(training.Stopped, match=f"SIGTERM after step {stop}"):
      problem.fit(tmp_path, placement=placement)
  assert checkpoint.newest(tmp_path / "checkpoints") == stop
  state = problem.fit(tmp_path, placement=placement)
  assert_equal(straight[1], problem.leaves(state))
  assert lines(tmp_path) == lines(straight[0])


def test_a_line_written_after_the_checkpoint_is_cut_and_written_again(
  straight, tmp_path, monkeypatch
):
  evaluate = evaluation.Evaluator.__call__

  def fail(self, *arguments):
    if int(fail.calls) == 2:
      raise RuntimeError("power cut")
    fail.calls += 1
    return evaluate(self, *arguments)

  fail.calls = 0
  with monkeypatch.context() as patch:
    patch.setattr(evaluation.Evaluator, "__call__", fail)
    with pytest.raises(RuntimeError, match="power cut"):
      problem.fit(tmp_path)
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write('{"step": 29, "split": "tra')
  state = problem.fit(tmp_path)
  assert_equal(straight[1], problem.leaves(state))
  assert lines(tmp_path) == lines(straight[0])


def test_the_two_paths_of_the_data_give_the_same_bits(straight):
  state = problem.fit(placement="stream")
  assert_equal(straight[1], problem.leaves(state))


def test_several_steps_a_call_give_the_same_run(straight, tmp_path):
  state = problem.leaves(problem.fit(tmp_path, steps_per_call=4))
  for path, leaf in straight[1].items():
    if leaf.dtype == np.float32:
      scale = max(np.abs(leaf).max(), 1e-8)
      # One program and a loop may round differently on a CPU.
      assert np.abs(leaf - state[path]).max() / scale < 1e-5, path
    else:
      np.testing.assert_array_equal(leaf, state[path])
  steps = [line["step"] for line in lines(tmp_path)]
  assert steps == [line["step"] for line in lines(straight[0])]


def test_another_seed_gives_another_run(straight):
  state = problem.leaves(problem.fit(seed=1))
  assert (
    state["params/head/kernel"] != straight[1]["params/head/kernel"]
  ).any()


def test_a_finished_run_makes_no_step(straight):
  state = problem.fit(straight[0])
  assert_equal(straight[1], problem.leaves(state))


def test_the_step_is_traced_once(monkeypatch):
  calls = []
  make = trainer.make_step

  def counted(*args, **settings):
    step = make(*args, **settings)

    def wrapped(*operands):
      calls.append(1)
      return step(*operands)

    return wrapped

  monkeypatch.setattr(trainer, "make_step", counted)
  problem.fit()
  assert len(calls) == 1


def test_validation_decides_the_best_and_its_checkpoint_is_kept(tmp_path):
  state = problem.fit(tmp_path, eval_every=4, best_by="accuracy")
  folder = tmp_path / "checkpoints"
  best = int(state.decided["best_step"])
  valid = [line for line in lines(tmp_path) if line["split"] == "valid"]
  top = max(line["accuracy"] for line in valid)
  # The later of two equal ones wins.
  assert best == max(line["step"] for line in valid if line["accuracy"] == top)
  kept = {int(path.name) for path in folder.iterdir()}
  assert kept == {36, 40, best}
  assert int(checkpoint.read(folder, best)["decided"]["best_step"]) == best


def test_training_learns(straight):
  valid = [line for line in lines(straight[0]) if line["split"] == "valid"]
  assert valid[-1]["accuracy"] > 0.8
  assert jax.tree.all(
    jax.tree.map(lambda leaf: np.isfinite(leaf).all(), straight[1])
  )


def test_a_stop_inside_an_evaluation_leaves_it_to_the_next_run(
  straight, tmp_path, monkeypatch
):
  """The last evaluation, whose step is saved without it and then with it."""
  batches = evaluation.Evaluator._batches

  def kill(self):
    kill.calls += 1
    if kill.calls == 5:  # One is for compiling.
      os.kill(os.getpid(), signal.SIGTERM)
    return batches(self)

  kill.calls = 0
  with monkeypatch.context() as patch:
    patch.setattr(evaluation.Evaluator, "_batches", kill)
    with pytest.raises(training.Stopped, match="step 40"):
      problem.fit(tmp_path)
  assert lines(tmp_path) == lines(straight[0])[:-1]
  assert_equal(straight[1], problem.leaves(problem.fit(tmp_path)))
  assert lines(tmp_path) == lines(straight[0])
  saved = checkpoint.read(tmp_path / "checkpoints", 40)
  assert saved["decided"]["seen"] == 40

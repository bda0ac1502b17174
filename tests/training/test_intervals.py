"""When a run logs, evaluates, saves and pauses."""

import pytest

from dlcore.training.intervals import Intervals


def intervals(steps=100, steps_per_call=7, steps_per_epoch=10, **settings):
  every = {"eval_every": 30, "checkpoint_every": 0, "keep_every": 0}
  return Intervals.create(
    steps,
    steps_per_epoch=steps_per_epoch,
    steps_per_call=steps_per_call,
    **{**every, **settings},
  )


@pytest.mark.parametrize("first", [0, 1, 29, 30, 44, 99])
@pytest.mark.parametrize("keep_every", [0, 25, 40])
def test_dispatches_end_at_every_pause_and_make_each_step_once(
  first, keep_every
):
  schedule = intervals(keep_every=keep_every)
  step, ends = first, set()
  for count in schedule.step_counts(first):
    assert count in (1, 7)
    step += count
    ends.add(step)
  assert step == 100
  due = range(first + 1, 101)
  assert {s for s in due if schedule.evaluates(s) or schedule.saves(s)} <= ends


def test_a_pause_is_the_next_step_that_evaluates_or_saves():
  schedule = intervals(checkpoint_every=20, keep_every=45)
  for step in range(100):
    following = range(step + 1, 101)
    assert schedule.next_pause(step) == next(
      s for s in following if schedule.evaluates(s) or schedule.saves(s)
    )


def test_the_last_step_evaluates_and_saves_and_the_first_does_not():
  schedule = intervals()
  assert schedule.evaluates(100)
  assert schedule.saves(100)
  assert not schedule.evaluates(0)
  assert not schedule.saves(0)
  assert list(schedule.step_counts(100)) == []


def test_evaluations_save_only_without_an_interval_of_their_own():
  evaluated = [10, 20, 30, 40, 50]
  every = {"steps": 50, "eval_every": 10}
  for settings, saved in (
    ({}, evaluated),
    ({"checkpoint_every": 25}, [25, 50]),
    ({"keep_every": 15}, [10, 15, 20, 30, 40, 45, 50]),
    ({"checkpoint_every": 25, "keep_every": 15}, [15, 25, 30, 45, 50]),
  ):
    schedule = intervals(**every, **settings)
    assert [s for s in range(51) if schedule.evaluates(s)] == evaluated
    assert [s for s in range(51) if schedule.saves(s)] == saved


@pytest.mark.parametrize("steps", [1, 7, 20, 39, 50, 200, 1000, 3999])
@pytest.mark.parametrize("steps_per_epoch", [1, 22, 900])
def test_a_short_run_logs_and_evaluates_20_times_or_at_every_step(
  steps, steps_per_epoch
):
  schedule = intervals(steps, steps_per_epoch=steps_per_epoch, eval_every=0)
  evaluated = [s for s in range(steps + 1) if schedule.evaluates(s)]
  assert len(evaluated) >= min(steps, 20)
  assert steps // schedule.log_every >= min(steps, 20)
  assert schedule.eval_every <= 200
  assert schedule.log_every <= 50


@pytest.mark.parametrize(
  ("steps_per_epoch", "eval_every"), [(10, 200), (200, 200), (843, 843)]
)
def test_the_intervals_of_long_runs_do_not_depend_on_the_number_of_steps(
  steps_per_epoch, eval_every
):
  for steps in (4000, 9000, 10**6):
    schedule = intervals(steps, steps_per_epoch=steps_per_epoch, eval_every=0)
    assert (schedule.eval_every, schedule.log_every) == (eval_every, 50)


def test_evaluations_that_change_the_training_do_not_depend_on_its_length():
  for steps in (50, 1000, 9000):
    schedule = intervals(steps, eval_every=0, counts_evaluations=True)
    assert schedule.eval_every == 200


def test_a_run_continues_with_its_recorded_intervals():
  recorded = {"eval_every": 7, "log_every": 3}
  schedule = intervals(50, eval_every=0, recorded=recorded)
  assert (schedule.eval_every, schedule.log_every) == (7, 3)
  of_former_versions = intervals(50, eval_every=0, recorded={})
  assert of_former_versions.eval_every == 200
  assert of_former_versions.log_every == 50


def test_explicit_intervals_prevail():
  for recorded in (None, {"eval_every": 7, "log_every": 3}):
    schedule = intervals(50, eval_every=30, log_every=40, recorded=recorded)
    assert (schedule.eval_every, schedule.log_every) == (30, 40)


@pytest.mark.parametrize("steps", [1, 30, 60, 95])
def test_the_evaluations_that_are_left_are_counted(steps):
  schedule = intervals(steps)
  for step in range(steps + 1):
    left = sum(schedule.evaluates(s) for s in range(step + 1, steps + 1))
    assert schedule.evaluations_after(step) == left

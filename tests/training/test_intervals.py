"""When a run evaluates, saves and pauses."""

import pytest

from dlcore.training.intervals import Intervals


def intervals(steps=100, steps_per_call=7, **every):
  every = {"eval_every": 30, "checkpoint_every": 0, "keep_every": 0, **every}
  return Intervals.create(
    steps, steps_per_epoch=10, steps_per_call=steps_per_call, **every
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


def test_the_interval_of_evaluations_does_not_depend_on_the_number_of_steps():
  assert intervals(1000, eval_every=0) == intervals(
    9000, eval_every=0
  )._replace(steps=1000)
  assert intervals(eval_every=0).eval_every == 200

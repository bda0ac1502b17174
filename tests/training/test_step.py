"""The step and its wrappers: one compiled program, sums by line, averages."""

import chex
import jax
import numpy as np
import problem
import pytest

from dlcore import data, optim, tasks, training
from dlcore.errors import UserError
from dlcore.training import setup

LOG_EVERY = 3


@pytest.mark.slow
def test_the_step_is_traced_once_over_a_run(tmp_path, monkeypatch):
  traces = []
  make = setup.make_step

  def counted(*arguments, **settings):
    step = make(*arguments, **settings)

    def count(*inputs):
      traces.append(1)
      return step(*inputs)

    return chex.assert_max_traces(count, n=1)

  monkeypatch.setattr(setup, "make_step", counted)
  problem.fit(
    tmp_path, checkpoint_every=15, log_every=7, layer_statistics_every=9
  )
  assert len(traces) == 1


def trajectory(task, steps, batches=None, **state_settings):
  """Returns the states and logs of plain steps of a small perceptron."""
  source, tx = problem.source(50), optim.create("sgd", learning_rate=0.1)
  order = data.shuffled(source.size, 16)
  batches = batches or list(data.batches(source, order, 0, 0, steps))
  state = training.init_state(task, tx, batches[0], **state_settings)
  step = training.make_step(task, tx)
  if state_settings.get("average"):
    step = training.average(step, 0.9)
  if state_settings.get("guard"):
    step = training.guard(step)
  if state_settings.get("metrics"):
    step = training.sum_metrics(step, LOG_EVERY)
  step, states, logs = jax.jit(step), [state], []
  for batch in batches:
    state, log = step(state, batch)
    states.append(state)
    logs.append(log)
  return states, logs


def test_a_line_of_the_log_sums_the_batches_since_the_last_line():
  task = tasks.classification(problem.Net(dropout=0.0))
  _, plain = trajectory(task, 8)
  _, logs = trajectory(task, 8, metrics=True)
  for step in range(1, 9):
    first = (step - 1) // LOG_EVERY * LOG_EVERY
    for name, sums in logs[step - 1]["metrics"].items():
      expected = np.sum(
        [np.asarray(log["metrics"][name]) for log in plain[first:step]], axis=0
      )
      np.testing.assert_allclose(sums, expected, rtol=1e-6)


def test_skipped_updates_are_not_in_the_sums_of_a_line():
  task = problem.spoiled(1)(tasks.classification(problem.Net(dropout=0.0)))
  guard = training.init_guard()
  _, plain = trajectory(task, 3, guard=guard)
  _, logs = trajectory(task, 3, guard=guard, metrics=True)
  applied = [log["metrics"]["loss"] for log in (plain[0], plain[2])]
  np.testing.assert_allclose(
    logs[2]["metrics"]["loss"], np.sum(applied, axis=0), rtol=1e-6
  )


def test_the_average_follows_its_formula():
  task = tasks.classification(problem.Net())
  states, _ = trajectory(task, 6, average=True)

  def followed(state):
    statistics = state.model_state["batch_stats"]
    tree = {"params": state.params, "batch_stats": statistics}
    return {k: v.astype(np.float64) for k, v in problem.leaves(tree).items()}

  expected = followed(states[0])
  for t, state in enumerate(states[1:]):
    decay = min(0.9, (1 + t) / (10 + t))
    expected = {
      path: decay * expected[path] + (1 - decay) * value
      for path, value in followed(state).items()
    }
    average = problem.leaves(state.average)
    assert average.keys() == expected.keys()
    for path, value in expected.items():
      np.testing.assert_allclose(
        average[path], value, rtol=1e-5, atol=1e-7, err_msg=path
      )
  params, model_state = training.evaluation_variables(states[-1])
  assert params is states[-1].average["params"]
  assert model_state["batch_stats"] is states[-1].average["batch_stats"]


@pytest.mark.parametrize("max_consecutive_skips", [1, 2])
def test_a_halted_state_does_not_change(max_consecutive_skips):
  task = problem.spoiled(1, 2)(tasks.classification(problem.Net()))
  source, tx = problem.source(50), optim.create("sgd", learning_rate=0.1)
  order = data.shuffled(source.size, 16)
  batches = list(data.batches(source, order, 0, 0, 6))
  state = training.init_state(task, tx, batches[0], guard=training.init_guard())
  step = jax.jit(
    training.guard(
      training.make_step(task, tx),
      max_consecutive_skips=max_consecutive_skips,
    )
  )
  states = [state]
  for batch in batches:
    states.append(step(states[-1], batch)[0])
  halted = 1 + max_consecutive_skips
  assert [bool(s.guard["halted"]) for s in states] == [
    i >= halted for i in range(7)
  ]
  chex.assert_trees_all_equal(states[halted], states[-1])


@pytest.mark.parametrize(
  ("wrap", "argument"),
  [
    (lambda step: training.guard(step), "guard=init_guard()"),
    (lambda step: training.guard(step, spike_factor=3.0), "spikes=True"),
    (lambda step: training.average(step, 0.9), "average=True"),
    (lambda step: training.sum_metrics(step, 5), "metrics=True"),
  ],
)
def test_a_wrapper_names_the_argument_that_its_state_lacks(wrap, argument):
  task = tasks.classification(problem.Net())
  tx = optim.create("sgd", learning_rate=0.1)
  batch = next(data.batches(problem.source(50), data.shuffled(50, 16), 0, 0, 1))
  state = training.init_state(task, tx, batch)
  with pytest.raises(UserError) as error:
    jax.eval_shape(wrap(training.make_step(task, tx)), state, batch)
  assert argument in error.value.lines[-1]

"""Averaged weights are evaluated with batch statistics of their own."""

import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import problem
import pytest

from dlcore import data, optim, tasks, training
from dlcore.training.monitor import Monitor


def train(
  workdir=None,
  net=None,
  wrap=lambda task: task,
  optimizer="schedule_free_adamw",
  **settings,
):
  settings = {
    "steps": 45,
    "eval_every": 15,
    "checkpoint_every": 15,
    "devices": jax.local_devices()[:1],
    **settings,
  }
  task = tasks.classification(net or problem.Net())
  return training.fit(
    wrap(tasks.augmented(task, problem.AUGMENT)),
    optim.create(optimizer, learning_rate=0.05),
    problem.source(50),
    problem.source(30, seed=1),
    batch_size=16,
    workdir=workdir,
    progress=False,
    **settings,
  )


def exact_statistics(params, batches):
  """Returns mean and variance of the first layer's output, over batches."""
  means, variances = [], []
  for images in batches:
    x = images.reshape(len(images), -1) / 255
    x = x @ np.asarray(params["dense_0"]["kernel"], np.float64)
    x += np.asarray(params["dense_0"]["bias"])
    means.append(x.mean(0))
    variances.append(x.var(0))
  return np.mean(means, 0), np.mean(variances, 0)


def latest_images(state):
  """Yields the augmented images, float64, of the latest 32 batches."""
  task = tasks.augmented(tasks.classification(problem.Net()), problem.AUGMENT)
  for index in range(13, 45):
    rows = data.shuffled(50, 16)(0, index).index
    at_batch = state.replace(batch_index=jnp.int32(index))
    key = jax.random.split(training.state.step_key(at_batch))[0]
    batch = {**problem.source(50).read(rows), "index": rows}
    _, batch = task.prepare(state.average["params"], {}, batch, key)
    yield rows, np.asarray(batch["image"], np.float64)


@pytest.mark.slow
def test_a_schedule_free_run_has_the_statistics_of_its_average():
  state = train().last
  batches = [images for _, images in latest_images(state)]
  mean, variance = exact_statistics(state.average["params"], batches)
  statistics = state.average["batch_stats"]["norm_0"]
  scale = np.abs(mean).max()
  assert np.abs(statistics["mean"] - mean).max() <= 1e-5 * scale
  # E[x^2] - E[x]^2 of batch norm loses digits.
  np.testing.assert_allclose(statistics["var"], variance, rtol=1e-3)
  raw = state.model_state["batch_stats"]["norm_0"]
  assert np.abs(raw["mean"] - mean).max() > 1e-3 * scale


@pytest.mark.slow
def test_batches_that_are_not_finite_do_not_count():
  """The loop skips their updates."""

  def break_example(task):
    def prepare(params, model_state, batch, key):
      model_state, batch = task.prepare(params, model_state, batch, key)
      is_broken = (batch["index"] == 7)[:, None, None, None]
      image = jnp.where(is_broken, 3e38, batch["image"].astype(jnp.float32))
      return model_state, {**batch, "image": image}

    return task._replace(prepare=prepare)

  state = train(wrap=break_example, max_consecutive_skips=10).last
  assert int(state.guard["skipped"]) > 3
  batches = [  # Images of floats are not divided by 255.
    255 * images for rows, images in latest_images(state) if 7 not in rows
  ]
  mean, variance = exact_statistics(state.average["params"], batches)
  statistics = state.average["batch_stats"]["norm_0"]
  scale = np.abs(mean).max()
  assert np.abs(statistics["mean"] - mean).max() <= 1e-5 * scale
  np.testing.assert_allclose(statistics["var"], variance, rtol=1e-3)


@pytest.mark.slow
def test_a_stopped_and_resumed_run_equals_straight(tmp_path, monkeypatch):
  straight = train(tmp_path / "straight")
  add = Monitor.add

  def kill(self, step, count, log):
    add(self, step, count, log)
    if step + count == 20:
      os.kill(os.getpid(), signal.SIGTERM)

  with monkeypatch.context() as patch:
    patch.setattr(Monitor, "add", kill)
    with pytest.raises(training.Stopped):
      train(tmp_path / "stopped")
  problem.assert_equal(train(tmp_path / "stopped"), straight)


@pytest.mark.slow
def test_the_model_that_is_evaluated_is_the_returned_one(tmp_path):
  state = train(tmp_path).last
  lines = problem.lines(tmp_path, "valid")
  task = tasks.classification(problem.Net())
  values = training.Evaluator(task, problem.source(30, seed=1))(state)
  assert lines[-1]["loss"] == pytest.approx(values["loss"], rel=1e-5)


@pytest.mark.slow  # So do all collections, in test_collections.py.
def test_jit_and_pmap_give_the_same_statistics():
  def statistics(compiler):
    net = problem.Net(
      dropout=0.0, axis_name="data" if compiler == "pmap" else None
    )
    devices = jax.local_devices()[:2]
    # Adam's steps of the bias before batch norm, whose gradient is rounding
    # error, would differ.
    state = train(
      net=net,
      compiler=compiler,
      devices=devices,
      optimizer="schedule_free_sgd",
    ).last
    return state.average["batch_stats"]["norm_0"]

  jitted, mapped = statistics("jit"), statistics("pmap")
  for name, leaf in jitted.items():
    np.testing.assert_allclose(mapped[name], leaf, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_frozen_batch_norm_keeps_its_statistics():
  state = train(wrap=lambda task: tasks.freeze(task, "^norm_0/")).last
  statistics = state.average["batch_stats"]["norm_0"]
  np.testing.assert_array_equal(statistics["mean"], np.zeros(16))
  np.testing.assert_array_equal(statistics["var"], np.ones(16))

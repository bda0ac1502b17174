"""Collections of `model_state` agree on any number of devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import problem
import pytest

from dlcore import data, models, optim, tasks, training
from dlcore.task import Task

WIDTH = 3
ROWS = 16
EPOCH = 3
"""Batches in an epoch: row b of a batch continues row b of the last one."""

STEPS = 5
"""The carry is reset once in between, at the batch `EPOCH`."""


def recurrent_task(wrap_predict=lambda collections: None):
  """Follows a signal with a recurrent state, and counts its updates."""

  def init(key, batch):
    rows = batch["x"].shape[0]
    return {"weight": jax.random.normal(key, (WIDTH,))}, {
      "batch_stats": {"mean": jnp.zeros(WIDTH)},
      "carry": {"state": jnp.full((rows, WIDTH), 7.0)},
      "frozen": {"scale": jnp.arange(1.0, WIDTH + 1)},
      "counter": {"updates": jnp.zeros((), jnp.int32)},
    }

  def apply(params, model_state, batch):
    x = batch["x"] * model_state["frozen"]["scale"]
    state = 0.5 * model_state["carry"]["state"] + x
    return state, jnp.tanh(state) @ params["weight"]

  def sums(error):
    return {"loss": (jnp.sum(error), jnp.float32(error.size))}

  def loss(params, model_state, batch, key):
    state, prediction = apply(params, model_state, batch)
    error = jnp.square(prediction - batch["y"])
    mean = model_state["batch_stats"]["mean"]
    new_state = {
      **model_state,
      "batch_stats": {"mean": 0.9 * mean + 0.1 * batch["x"].mean(axis=0)},
      "carry": {"state": state},
      "counter": {"updates": model_state["counter"]["updates"] + 1},
    }
    total = (jnp.sum(error), jnp.float32(error.size))
    return total, (new_state, sums(error))

  def evaluate(params, model_state, batch, key):
    carry = model_state["carry"]
    if "begins" in batch:
      begins = batch["begins"][:, None]
      carry = {"state": jnp.where(begins, 7.0, carry["state"])}
    state, prediction = apply(params, {**model_state, "carry": carry}, batch)
    error = batch["mask"] * jnp.square(prediction - batch["y"])
    metrics = {"loss": (jnp.sum(error), jnp.sum(batch["mask"]))}
    return {**model_state, "carry": {"state": state}}, metrics

  def predict(params, model_state, batch, key):
    wrap_predict(set(model_state))
    return {"prediction": batch["x"] @ params["weight"]}

  return Task(init, loss, evaluate, predict)


@functools.cache
def source(size=ROWS * EPOCH, seed=0):
  normal = np.random.default_rng(seed).normal
  arrays = {"x": normal(size=(size, WIDTH)), "y": normal(size=size)}
  arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
  return data.from_arrays(arrays, name="signal")


def fit(workdir=None, *, devices=1, task=None, **settings):
  settings = {
    "order": data.sequential(ROWS * EPOCH, ROWS),
    "steps": STEPS,
    "eval_every": 100,
    "checkpoint_every": 100,
    **settings,
  }
  state = training.fit(
    task or recurrent_task(),
    optim.create("sgd", learning_rate=0.05, momentum=0.9),
    source(),
    workdir=workdir,
    devices=jax.local_devices()[:devices],
    progress=False,
    **settings,
  ).last
  return jax.device_get(state)


def leaves(tree):
  flat, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in flat}


def assert_close(actual, expected):
  """The sums of several devices are rounded in another order."""
  actual, expected = leaves(actual), leaves(expected)
  assert actual.keys() == expected.keys()
  for path, leaf in expected.items():
    assert actual[path].dtype == leaf.dtype, path
    if leaf.dtype == np.float32:
      difference = np.abs(actual[path] - leaf).max()
      assert difference <= 1e-5 * np.abs(leaf).max(), path
    else:
      np.testing.assert_array_equal(actual[path], leaf, err_msg=path)


def expected_carry(batch_indices, begins=()):
  """Returns the carry after some batches in a row, by NumPy."""
  order = data.sequential(ROWS * EPOCH, ROWS)
  state = np.full((ROWS, WIDTH), 7.0, np.float32)
  for batch_index in batch_indices:
    if batch_index in begins:
      state = np.full_like(state, 7.0)
    x = source().arrays["x"][order(0, batch_index).index]
    state = 0.5 * state + x * np.arange(1, WIDTH + 1, dtype=np.float32)
  return state


@functools.cache
def on_one_device():
  return fit()


@pytest.mark.parametrize("compiler", ["jit", "pmap"])
@pytest.mark.parametrize(
  "settings",
  [
    {},
    {"placement": "stream"},
    {"steps_per_call": 4},
  ],
)
@pytest.mark.fast_cases("settings0-pmap", "settings1-jit", "settings2-pmap")
def test_eight_devices_agree_with_one_in_every_collection(compiler, settings):
  one = on_one_device()
  eight = fit(devices=8, compiler=compiler, **settings)
  assert_close(eight.model_state, one.model_state)
  assert_close(eight.params, one.params)
  assert int(eight.model_state["counter"]["updates"]) == STEPS


def test_a_row_begins_where_the_order_says_so():
  carry = on_one_device().model_state["carry"]["state"]
  expected = expected_carry(range(STEPS), begins=(0, EPOCH))
  np.testing.assert_allclose(carry, expected, rtol=1e-6)


def test_only_the_rows_that_begin_are_reset():
  task = recurrent_task()
  tx = optim.create("sgd", learning_rate=0.05)
  batch = dict(source().read(np.arange(ROWS)))
  state = training.init_state(task, tx, batch)
  begins = np.arange(ROWS) % 2 == 0
  step = jax.jit(training.make_step(task, tx))
  first, _ = step(state, {**batch, "begins": np.zeros(ROWS, bool)})
  second, _ = step(first, {**batch, "begins": begins})
  again = second.model_state["carry"]["state"]
  fresh = first.model_state["carry"]["state"]
  np.testing.assert_array_equal(again[begins], fresh[begins])
  assert (np.asarray(again != fresh)[~begins]).any(axis=1).all()


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("compiler", ["jit", "pmap"])
def test_accumulation_cuts_the_carry_with_the_rows(compiler, devices):
  whole = on_one_device()
  cut = fit(devices=devices, compiler=compiler, accumulate=2)
  for name in ("carry", "frozen"):
    assert_close(cut.model_state[name], whole.model_state[name])
  assert_close(cut.params, whole.params)


def test_resume_continues_the_carry_with_the_same_bits(tmp_path):
  straight = leaves(fit(tmp_path / "straight", devices=8))
  fit(tmp_path / "parts", devices=8, steps=2)
  again = leaves(fit(tmp_path / "parts", devices=8))
  assert straight.keys() == again.keys()
  for path, leaf in straight.items():
    assert leaf.tobytes() == again[path].tobytes(), path


@pytest.mark.parametrize("compiler", ["jit", "pmap"])
def test_a_roll_back_resets_the_carry(compiler):
  def spoiled(task):
    def loss(params, model_state, batch, key):
      (total, weight), rest = task.loss(params, model_state, batch, key)
      bad = model_state["counter"]["updates"] == 4
      # After the rollback to step 4 the counter is 4 again, and the batch
      # another one.
      bad &= jnp.any(batch["index"] % EPOCH == 1)
      return (jnp.where(bad, jnp.nan, total), weight), rest

    return task._replace(loss=loss)

  state = fit(
    task=spoiled(recurrent_task()),
    devices=8,
    compiler=compiler,
    steps=5,
    checkpoint_every=4,
    max_consecutive_skips=1,
    order=Continuing(),
  )
  # Batch 4 failed: the last update follows the save of step 4, and its rows
  # do not continue those of batch 3.
  assert int(state.batch_index) == 6
  assert int(state.guard["skipped"]) == 1
  carry = state.model_state["carry"]["state"]
  np.testing.assert_allclose(carry, expected_carry([5]), rtol=1e-6)


class Continuing:
  """`data.sequential` without `begins`."""

  size = ROWS * EPOCH
  batch_size = ROWS
  shapes = (None,)
  padded = False

  def __call__(self, seed, batch_index):
    order = data.sequential(self.size, self.batch_size)
    return order(seed, batch_index)._replace(begins=None)


def expected_loss(state, valid, batch_size):
  """Returns the loss of an evaluation, stream by stream, by NumPy."""
  weight = np.asarray(state.params["weight"])
  order = data.sequential(valid.size, batch_size)
  carry = np.full((batch_size, WIDTH), 7.0)
  total = 0.0
  for batch_index in range(order.num_batches):
    index = order(0, batch_index).index
    rows = valid.read(np.maximum(index, 0))
    carry = 0.5 * carry + rows["x"] * np.arange(1, WIDTH + 1)
    error = np.square(np.tanh(carry) @ weight - rows["y"])
    total += error[index >= 0].sum()
  return total / valid.size


@pytest.mark.parametrize("batch_size", [8, 24])
def test_each_evaluation_starts_from_a_carry_of_its_own(batch_size):
  state, valid = on_one_device(), source(44, seed=1)
  evaluator = training.Evaluator(recurrent_task(), valid, batch_size=batch_size)
  first = evaluator(state)
  assert first["loss"] == pytest.approx(
    expected_loss(state, valid, batch_size), rel=1e-5
  )
  other = {**state.model_state, "carry": {"state": jnp.zeros((ROWS, WIDTH))}}
  assert evaluator(state.replace(model_state=other)) == first
  assert evaluator(state) == first


def test_evaluations_of_another_batch_size_leave_the_run_unchanged(tmp_path):
  plain = fit(tmp_path / "plain")
  evaluated = fit(
    tmp_path / "evaluated",
    valid=source(44, seed=1),
    eval_every=2,
    eval_batch_size=8,
  )
  assert_close(evaluated.model_state, plain.model_state)
  assert_close(evaluated.params, plain.params)


def test_evaluations_compile_nothing_after_the_handlers_are_installed():
  def score(predictions, targets):
    error = predictions["prediction"] - targets["y"]
    return {"mse": float(np.square(error).mean())}

  task = recurrent_task()._replace(score=score)
  before, after = problem.compilations(
    lambda: fit(
      task=task,
      valid=source(44, seed=1),
      eval_every=2,
      eval_batch_size=8,
      best_by="-mse",
    )
  )
  assert before
  assert after == []


def test_predict_gets_no_carry():
  collections = []
  task = recurrent_task(collections.append)
  evaluator = training.Evaluator(task, source(20, seed=1), batch_size=8)
  rows = evaluator.predict(*training.evaluation_variables(on_one_device()))
  assert rows["prediction"].shape == (20,)
  assert collections == [{"batch_stats", "frozen", "counter"}]


@pytest.mark.parametrize("has_carry", [False, True])
@pytest.mark.parametrize("is_scored", [False, True])
def test_one_pass_returns_metrics_and_predictions(has_carry, is_scored):
  def score(predictions, targets):
    del targets
    return {"mean": float(np.mean([x.mean() for x in predictions.values()]))}

  task, valid = recurrent_task(), source(44, seed=1)
  variables = training.evaluation_variables(on_one_device())
  if not has_carry:
    valid = problem.source(44)
    task = tasks.classification(models.MLP(num_classes=3, widths=(8,)))
    variables = task.init(jax.random.key(0), valid.read(np.arange(8)))
  task = task._replace(score=score if is_scored else None)
  separate = training.Evaluator(task, valid, batch_size=8)
  values = separate.evaluate(*variables)
  rows = separate.predict(*variables)
  joint = training.Evaluator(task, valid, batch_size=8)
  actual, actual_rows = joint.evaluate_and_predict(*variables)
  assert actual == pytest.approx(values, rel=1e-6)
  assert ("mean" in actual) == is_scored
  assert_close(actual_rows, rows)

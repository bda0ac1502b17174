"""A value that is not finite is never applied, and its origin is named."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import problem
import pytest

from dlcore import optim, storage, tasks, training
from dlcore.errors import UserError
from dlcore.training import diagnosis
from dlcore.training.diagnosis import find_origin

AT_ONCE = {"max_consecutive_skips": 1, "max_rollbacks": 0}
"""Stops at the first update that is not finite."""


class Breaking(nn.Module):
  """Takes the logarithm of values that may become negative."""

  @nn.compact
  def __call__(self, x, *, train):
    x = nn.Dense(4, name="dense_0")(x.reshape(x.shape[0], -1))
    x = nn.Dense(4, name="dense_1")(x)
    with_log = jnp.log(x + 3.0)
    return nn.Dense(3, name="head")(with_log)


@pytest.mark.slow
def test_a_nan_in_the_data_is_reported_with_its_array_and_example(tmp_path):
  source = problem.source(50)
  images = source.arrays["image"].astype(np.float32) / 255
  images[7, 2, 2] = np.nan
  arrays = {"image": images, "label": source.arrays["label"]}
  # `from_arrays` would refuse it; a source of the user's own may not.
  bad = source._replace(
    arrays=arrays,
    read=lambda rows: {name: array[rows] for name, array in arrays.items()},
  )
  with pytest.raises(UserError, match="batch/image") as caught:
    problem.fit(
      tmp_path, train=bad, augment=None, checkpoint_every=1, **AT_ONCE
    )
  assert caught.value.lines[-1].endswith("examples 7")
  named = int(caught.value.lines[0].split("step ")[1].split()[0])
  # The last good state is the one before the step that is named.
  assert storage.newest_step(tmp_path / "checkpoints") == named - 1


@pytest.mark.slow
def test_the_step_and_layer_are_named_however_late_the_log_is_read():
  messages = []
  for log_every in (1, 7):
    with pytest.raises(UserError, match="not finite") as caught:
      problem.fit(
        net=Breaking(),
        augment=None,
        log_every=log_every,
        eval_every=100,
        **AT_ONCE,
      )
    messages.append(caught.value.lines)
  assert messages[0] == messages[1]
  assert int(messages[0][0].split("step ")[1].split()[0]) > 1
  assert "(log)" in messages[0][1]


def test_the_origin_is_the_first_operation_on_the_way_to_the_result():
  def function(x):
    masked = jnp.where(jnp.array([True, False]), x, -jnp.inf)
    weights = jnp.exp(masked - masked.max())
    return jnp.sum(weights) + jnp.sqrt(-x[0])

  origin = find_origin(function, {"x": jnp.array([1.0, 2.0])})
  assert "sqrt" in origin


def test_an_origin_in_the_gradient_alone_is_reported_as_such():
  def function(params):
    def loss(params):
      return jnp.sum(jnp.sqrt(params["x"]))

    return jax.value_and_grad(loss)(params)

  origin = find_origin(function, {"params": {"x": jnp.zeros(2)}})
  assert origin == "the gradient of the loss (div)"


def test_an_origin_inside_of_calls_is_named():
  inner = jax.jit(lambda x: jnp.log(x - 3) * 2)
  origin = find_origin(lambda x: jax.jit(inner)(x).sum(), {"x": jnp.ones(2)})
  assert "(log)" in origin


@pytest.mark.slow
def test_a_nan_in_a_part_of_an_example_names_the_example():
  arrays = problem.source(50).arrays
  images = arrays["image"].astype(np.float32) / 255
  images[7, 2, 2] = np.nan
  batch = {"image": images, "label": arrays["label"], "index": np.arange(50)}
  task = tasks.classification(problem.Net(dropout=0.0))
  tx = optim.create("sgd", learning_rate=0.1)
  guard = training.init_guard()
  state = training.init_state(task, tx, batch, guard=guard)
  error = diagnosis.diagnose(task, state, batch)
  assert error.lines[1].endswith("batch/image")
  assert error.lines[2].endswith("training examples 7")


def test_the_origin_is_empty_where_all_values_are_finite():
  assert find_origin(lambda x: x + 1, {"x": jnp.ones(2)}) == ""


def test_a_parameter_that_is_not_finite_is_named_by_its_path():
  params = {"dense": {"kernel": jnp.array([1.0, jnp.inf])}}
  origin = find_origin(
    lambda params: params["dense"]["kernel"].sum(), {"params": params}
  )
  assert origin == "params/dense/kernel"


@pytest.mark.slow
@pytest.mark.parametrize("bad", [38, 39, 40])
def test_the_last_steps_are_checked_too(tmp_path, bad):
  """However fast they are, and though no line of the log is due."""
  source = problem.source(50)
  images = source.arrays["image"].astype(np.float32) / 255
  first_bad = problem.indices(bad - 1)

  def read(rows):
    batch = {"image": images[rows], "label": source.arrays["label"][rows]}
    if np.array_equal(rows, first_bad):
      batch["image"] = batch["image"] * np.nan
    return batch

  streamed = source._replace(arrays=None, read=read)
  with pytest.raises(UserError, match=f"of step {bad} were skipped"):
    problem.fit(
      tmp_path,
      train=streamed,
      augment=None,
      log_every=1000,
      eval_every=30,
      **AT_ONCE,
    )
  assert storage.newest_step(tmp_path / "checkpoints") == 30

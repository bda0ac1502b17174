"""A number that is not finite is never applied, and is traced to its origin."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import problem
import pytest

from dlcore.errors import UserError
from dlcore.training import checkpoint
from dlcore.training.diagnosis import origin

AT_ONCE = {"tolerate": 1, "recoveries": 0}
"""Stops at the first bad update."""


class Breaking(nn.Module):
  """Takes the logarithm of what may become negative."""

  @nn.compact
  def __call__(self, x, *, train):
    x = nn.Dense(4, name="dense_0")(x.reshape(x.shape[0], -1))
    x = nn.Dense(4, name="dense_1")(x)
    with_log = jnp.log(x + 3.0)
    return nn.Dense(3, name="head")(with_log)


def test_a_nan_in_the_data_names_the_array_and_the_example(tmp_path):
  source = problem.source(50)
  images = source.arrays["image"].astype(np.float32) / 255
  images[7, 2, 2] = np.nan
  arrays = {"image": images, "label": source.arrays["label"]}
  # `from_arrays` would refuse it at once; a source of one's own may not.
  bad = source._replace(
    arrays=arrays,
    read=lambda rows: {name: array[rows] for name, array in arrays.items()},
  )
  with pytest.raises(UserError, match="batch/image") as caught:
    problem.fit(
      tmp_path, train=bad, augment=None, checkpoint_every=1, **AT_ONCE
    )
  assert caught.value.lines[-1].endswith("examples 7")
  named = int(caught.value.lines[0].split()[1])
  # The last good state is the one before the step that is named.
  assert checkpoint.newest(tmp_path / "checkpoints") == named - 1


def test_the_step_and_layer_are_named_however_late_the_look():
  told = []
  for log_every in (1, 7):
    with pytest.raises(UserError, match="not finite") as caught:
      problem.fit(
        net=Breaking(),
        augment=None,
        log_every=log_every,
        eval_every=100,
        **AT_ONCE,
      )
    told.append(caught.value.lines)
  assert told[0] == told[1]
  assert int(told[0][0].split()[1]) > 1
  assert "(log)" in told[0][1]


def test_the_origin_is_the_first_operation_on_the_way_to_the_result():
  def function(x):
    masked = jnp.where(jnp.array([True, False]), x, -jnp.inf)
    weights = jnp.exp(masked - masked.max())
    return jnp.sum(weights) + jnp.sqrt(-x[0])

  found = origin(function, {"x": jnp.array([1.0, 2.0])})
  assert "sqrt" in found


def test_an_origin_in_the_gradient_only_is_called_so():
  def function(params):
    import jax

    def loss(params):
      return jnp.sum(jnp.sqrt(params["x"]))

    return jax.value_and_grad(loss)(params)

  found = origin(function, {"params": {"x": jnp.zeros(2)}})
  assert found.startswith("the gradient of") or "div" in found


def test_where_all_is_finite_there_is_no_origin():
  assert origin(lambda x: x + 1, {"x": jnp.ones(2)}) == ""


def test_a_bad_parameter_is_named_by_its_path():
  params = {"dense": {"kernel": jnp.array([1.0, jnp.inf])}}
  found = origin(
    lambda params: params["dense"]["kernel"].sum(), {"params": params}
  )
  assert found == "params/dense/kernel"


@pytest.mark.parametrize("bad", [38, 39, 40])
def test_the_last_steps_are_looked_at_too(tmp_path, monkeypatch, bad):
  """However fast they are, and though no line of the log is due."""
  source = problem.source(50)
  images = source.arrays["image"].astype(np.float32) / 255

  def read(rows):
    read.calls += 1
    batch = {"image": images[rows], "label": source.arrays["label"][rows]}
    if bad <= read.calls - 1 <= 40:  # One call is for the shapes.
      batch["image"] = batch["image"] * np.nan
    return batch

  read.calls = 0
  streamed = source._replace(arrays=None, read=read)
  monkeypatch.setattr("dlcore.data.loader._ahead", _in_turn)
  with pytest.raises(UserError, match=f"step {bad} was not applied"):
    problem.fit(
      tmp_path,
      train=streamed,
      augment=None,
      log_every=1000,
      eval_every=30,
      **AT_ONCE,
    )
  assert checkpoint.newest(tmp_path / "checkpoints") == 30


def _in_turn(read, start, stop, threads, workers, prefetch):
  yield from map(read, range(start, stop))

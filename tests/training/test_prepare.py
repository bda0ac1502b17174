"""Arrays that `Task.prepare` adds to a batch reach the loss from step 1."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore import data, optim, training
from dlcore.errors import UserError
from dlcore.task import Task


def counting_task():
  """Learns the mean of targets that `prepare` makes, and counts examples."""

  def init(key, batch):
    return {"mean": jnp.zeros(())}, {"count": jnp.zeros((), jnp.int32)}

  def prepare(params, model_state, batch, key):
    count = model_state["count"] + batch["index"].shape[0]
    return {"count": count}, {**batch, "pseudo": batch["x"] + 1.0}

  def loss(params, model_state, batch, key):
    error = jnp.square(batch["pseudo"] - params["mean"])
    return (jnp.sum(error), jnp.float32(error.size)), (model_state, {})

  def unused(params, model_state, batch, key):
    raise NotImplementedError

  return Task(init, loss, evaluate=unused, predict=unused, prepare=prepare)


def source():
  return data.from_arrays({"x": np.full(64, 2.0)})


SETTINGS = {
  "batch_size": 8,
  "devices": jax.local_devices()[:1],
  "progress": False,
}


def test_a_loss_may_need_arrays_that_only_prepare_makes():
  tx = optim.create("sgd", learning_rate=0.2)
  result = training.fit(counting_task(), tx, source(), steps=50, **SETTINGS)
  state = result.last
  assert float(state.params["mean"]) == pytest.approx(3.0, abs=1e-4)
  assert int(state.model_state["count"]) == 50 * 8


def test_another_seed_does_not_continue_a_run(tmp_path):
  settings = {"steps": 4, "workdir": tmp_path, **SETTINGS}
  tx = optim.create("sgd", learning_rate=0.2)
  training.fit(counting_task(), tx, source(), **settings)
  with pytest.raises(UserError, match="another seed"):
    training.fit(counting_task(), tx, source(), seed=1, **settings)

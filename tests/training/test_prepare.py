"""What `Task.prepare` adds to a batch reaches the loss, from the first step."""

import jax
import jax.numpy as jnp
import pytest

from dlcore import data, optim, training
from dlcore.errors import UserError
from dlcore.task import Task


def counting_task():
  """Learns the mean of targets that `prepare` makes of the carried count."""

  def init(key, batch):
    return {"mean": jnp.zeros(())}, {"seen": jnp.zeros((), jnp.int32)}

  def prepare(params, extra, batch, key):
    seen = extra["seen"] + batch["index"].shape[0]
    return {"seen": seen}, {**batch, "pseudo": batch["x"] + 1.0}

  def loss(params, extra, batch, key):
    error = jnp.square(batch["pseudo"] - params["mean"])
    return (jnp.sum(error), jnp.float32(error.size)), (extra, {})

  return Task(init, loss, evaluate=None, predict=None, prepare=prepare)


def source():
  return data.from_arrays({"x": jnp.full(64, 2.0).__array__()})


def test_a_loss_may_need_what_only_prepare_makes():
  state = training.fit(
    counting_task(),
    optim.create("sgd", learning_rate=0.2),
    source(),
    steps=50,
    batch_size=8,
    devices=jax.local_devices()[:1],
    progress=False,
  )
  assert float(state.params["mean"]) == pytest.approx(3.0, abs=1e-4)
  assert int(state.extra["seen"]) == 50 * 8


def test_another_seed_does_not_go_on_with_a_run(tmp_path):
  settings = {
    "steps": 4,
    "batch_size": 8,
    "workdir": tmp_path,
    "devices": jax.local_devices()[:1],
    "progress": False,
  }
  tx = optim.create("sgd", learning_rate=0.2)
  training.fit(counting_task(), tx, source(), **settings)
  with pytest.raises(UserError, match="another seed"):
    training.fit(counting_task(), tx, source(), seed=1, **settings)

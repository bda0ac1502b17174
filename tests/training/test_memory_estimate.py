"""A run that does not fit into memory is refused before it allocates."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import problem
import pytest

from dlcore import optim, sharding, tasks, training
from dlcore.errors import UserError
from dlcore.training.activation_estimate import temporary_bytes
from dlcore.training.memory_estimate import estimate_memory

ROOT = Path(__file__).parents[2]
GIB = 2**30


class Wide(nn.Module):
  """A layer of any width."""

  width: int

  @nn.compact
  def __call__(self, x, *, train):
    del train
    return nn.Dense(3)(nn.Dense(self.width)(x.reshape(x.shape[0], -1)))


def test_a_model_that_is_too_large_is_refused_at_once():
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  with pytest.raises(UserError) as error:
    problem.fit(net=Wide(2 * 10**9))
  expected, got, remedy = error.value.lines
  assert "of free memory" in expected
  assert "parameters 149.0 GiB" in got
  assert "Dense_1/kernel [16, 2000000000] of 119.2 GiB" in remedy
  after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  assert after - before < 2**20  # KiB


@pytest.mark.slow
def test_a_batch_that_is_too_large_names_the_settings():
  train = problem.source(5000)
  limits = {"memory_limit": 0.075, "steps": 1, "augment": None, "valid": {}}
  problem.fit(net=Wide(1000), train=train, batch_size=16, **limits)
  with pytest.raises(UserError, match="activations") as error:
    problem.fit(net=Wide(1000), train=train, batch_size=5000, **limits)
  assert "set batch_size" in error.value.lines[2]
  assert "accumulate" in error.value.lines[2]


def test_all_copies_of_the_state_count():
  task = tasks.classification(Wide(100))
  batch = problem.source(8).read(np.arange(8))
  tx = optim.create("adam", learning_rate=1e-3)
  state = jax.eval_shape(lambda: training.init_state(task, tx, batch))
  one, two = (
    estimate_memory(state, sharding.partitioner(n, devices=jax.devices()[:n]))
    for n in (1, 2)
  )
  assert one.parameters == 4 * (16 * 100 + 100 + 100 * 3 + 3)
  assert 2 * one.parameters <= one.optimizer < 2 * one.parameters + 100
  assert two.needed - one.needed == one.state + one.gradients


def test_the_preview_traces_and_allocates_nothing():
  memory = training.preview_memory(
    tasks.classification(Wide(10**9)),
    optim.create("sgd", learning_rate=1e-3),
    problem.source(50),
    batch_size=8,
    devices=jax.devices()[:1],
  )
  assert memory.parameters > 60 * GIB
  assert memory.activations > 0


def test_elementwise_results_take_no_memory():
  def chain(x):
    for _ in range(10):
      x = jax.numpy.sin(x) + 1
    return x.sum()

  x = jax.ShapeDtypeStruct((1000,), np.float32)
  assert temporary_bytes(jax.make_jaxpr(chain)(x)) < 100


def test_arrays_that_products_read_stay_until_their_last_use():
  def twice(x, w):
    first = x @ w
    return (first @ w).sum() + first.sum()

  x = jax.ShapeDtypeStruct((100, 100), np.float32)
  assert temporary_bytes(jax.make_jaxpr(twice)(x, x)) == pytest.approx(
    2 * 4 * 100**2, abs=100
  )


@pytest.mark.slow
def test_the_command_refuses_a_huge_layer_and_does_not_hang(tmp_path):
  command = [
    sys.executable,
    str(ROOT / "experiments/train.py"),
    f"--config={ROOT / 'configs/digits_mlp.py'}",
    "--config.model.widths=(200000000,)",
  ]
  result = subprocess.run(
    command, cwd=tmp_path, capture_output=True, text=True, timeout=300
  )
  assert result.returncode == 2
  error = result.stderr[result.stderr.index("error:") :]
  assert len(error.splitlines()) == 3
  assert "free memory" in error
  assert "200000000" in error


STUCK = """
import ctypes, signal, sys
from dlcore import command

def main():
  # Other threads receive the signal, so that it does not end the call.
  signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
  print("ready", flush=True)
  ctypes.CDLL(None).sleep(600)

sys.argv = ["stuck"]
command.run(main)
"""


@pytest.mark.slow
def test_ctrl_c_ends_a_process_that_waits_in_a_library():
  process = subprocess.Popen(
    [sys.executable, "-c", STUCK],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    env={**os.environ, "PYTHONPATH": str(ROOT)},
    text=True,
  )
  assert process.stdout.readline() == "ready\n"
  started = time.monotonic()
  process.send_signal(signal.SIGINT)
  _, err = process.communicate(timeout=60)
  assert process.returncode == 130
  assert err == "interrupted\n"
  assert time.monotonic() - started < 30

"""Batches of several lengths: each compiled once, before the handlers."""

import os
import signal
from unittest import mock

import flax.linen as nn
import jax
import numpy as np
import problem
import pytest

from dlcore import data, optim, sharding, tasks, training
from dlcore.training import setup
from dlcore.training.feed import Feed
from dlcore.training.intervals import Intervals
from dlcore.training.monitor import Monitor

pytestmark = pytest.mark.slow

LENGTHS = (4, 8, 12)
STEPS = 12


class Tokens(nn.Module):
  """Classifies the mean of the embeddings of a sequence."""

  @nn.compact
  def __call__(self, input_ids, *, attention_mask, train):
    x = nn.Embed(20, 8, name="embedding")(input_ids)  # [B, T, D]
    mask = attention_mask[..., None]
    x = nn.tanh(nn.Dense(8, name="dense_0")(x)) * mask
    return nn.Dense(3, name="head")(x.sum(axis=1) / mask.sum(axis=1))


def source(size=60, seed=0):
  """Returns sequences of 1 to 12 tokens, padded to 12."""
  generator = np.random.default_rng(seed)
  lengths = generator.integers(1, LENGTHS[-1] + 1, size).astype(np.int32)
  mask = (np.arange(LENGTHS[-1]) < lengths[:, None]).astype(np.int32)
  ids = generator.integers(1, 20, mask.shape).astype(np.int32) * mask
  labels = (ids.sum(axis=1) % 3).astype(np.int32)
  arrays = {"input_ids": ids, "attention_mask": mask, "label": labels}
  return data.from_arrays(arrays, name="sequences", lengths=lengths)


VALID = source(20, seed=1)


def fit(workdir=None, *, devices=1, valid=VALID, **settings):
  train = source()
  settings = {
    "steps": STEPS,
    "log_every": 2,
    "eval_every": 6,
    "checkpoint_every": 6,
    "ema": 0.9,
    **settings,
  }
  return training.fit(
    tasks.classification(Tokens(), input="input_ids"),
    optim.create("adamw", learning_rate=0.01),
    train,
    valid,
    order=data.bucketed(train.lengths, 8, boundaries=LENGTHS),
    workdir=workdir,
    devices=jax.local_devices()[:devices],
    progress=False,
    **settings,
  )


@pytest.fixture(scope="module", autouse=True)
def optimized():
  with problem.optimized():
    yield


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("straight")
  return workdir, fit(workdir)


def lengths_of(steps):
  order = data.bucketed(source().lengths, 8, boundaries=LENGTHS)
  return [order(0, i).length for i in range(steps)]


@pytest.mark.parametrize("placement", ["device", "stream"])
@pytest.mark.parametrize("boundaries", [(12,), (4, 12), LENGTHS])
def test_a_single_batch_is_that_of_the_run(boundaries, placement):
  train = source()
  partitioner = sharding.partitioner(8, devices=jax.local_devices()[:1])
  order = data.bucketed(train.lengths, 8, boundaries=boundaries)
  feed = Feed(train, order, partitioner, seed=3, placement=placement, workers=0)
  state = mock.Mock(step=0, batch_index=0)
  every = {"eval_every": 9, "checkpoint_every": 0, "keep_every": 0}
  intervals = Intervals.create(9, 7, steps_per_call=1, **every)
  for index, dispatch in enumerate(feed.dispatches(state, intervals)):
    single = feed.dispatch(index)
    assert (single.count, single.length) == (dispatch.count, dispatch.length)
    problem.assert_equal(single.batch, dispatch.batch)


def test_the_run_has_batches_of_every_length():
  assert set(lengths_of(STEPS)) == set(LENGTHS)


@pytest.mark.slow
def test_resident_and_streamed_data_give_the_same_bits(straight):
  problem.assert_equal(fit(placement="stream"), straight[1])


def test_cutting_to_a_length_changes_nothing(straight):
  """Padding beyond the length of a batch has no influence."""
  order = data.bucketed(source().lengths, 8, boundaries=LENGTHS)

  class Whole:
    size, batch_size, shapes, padded = 60, 8, (None,), False

    def __call__(self, seed, batch_index):
      return order(seed, batch_index)._replace(length=None)

  train = source()
  whole = training.fit(
    tasks.classification(Tokens(), input="input_ids"),
    optim.create("adamw", learning_rate=0.01),
    train,
    steps=STEPS,
    order=Whole(),
    devices=jax.local_devices()[:1],
    progress=False,
  )
  for path, leaf in problem.leaves(whole.last.params).items():
    cut = problem.leaves(straight[1].last.params)[path]
    # Sums over more zeros, in another order.
    assert np.abs(cut - leaf).max() <= 1e-4 * np.abs(leaf).max(), path


@pytest.mark.slow
def test_the_step_is_traced_once_for_each_length(tmp_path, monkeypatch):
  traced = []
  make = setup.make_step

  def counted(*arguments, **settings):
    step = make(*arguments, **settings)

    def count(state, batch):
      traced.append(batch["input_ids"].shape[1])
      return step(state, batch)

    return count

  monkeypatch.setattr(setup, "make_step", counted)
  fit(tmp_path, steps=7)
  fit(tmp_path, layer_statistics_every=4)
  assert sorted(traced) == sorted(2 * LENGTHS)


@pytest.mark.parametrize(
  "settings",
  [
    {},
    pytest.param({"placement": "stream"}, marks=pytest.mark.slow),
    pytest.param({"layer_statistics_every": 4}, marks=pytest.mark.slow),
    pytest.param({"samples": problem.SAMPLES}, marks=pytest.mark.slow),
    pytest.param({"compiler": "pmap", "devices": 2}, marks=pytest.mark.slow),
  ],
)
def test_nothing_is_compiled_after_the_handlers_are_installed(
  tmp_path, settings
):
  before, after = problem.compilations(lambda: fit(tmp_path, **settings))
  assert len(before) >= len(LENGTHS)
  assert after == []


@pytest.mark.parametrize(
  ("placement", "stop"),
  [
    ("device", 5),
    pytest.param("device", 6, marks=pytest.mark.slow),
    pytest.param("stream", 5, marks=pytest.mark.slow),
    ("stream", 6),
  ],
)
@pytest.mark.fast_cases("device-5")
def test_resume_in_the_middle_equals_straight(
  straight, tmp_path, monkeypatch, placement, stop
):
  add = Monitor.add

  def kill(self, step, count, log):
    add(self, step, count, log)
    if step + count == stop:
      os.kill(os.getpid(), signal.SIGTERM)

  with monkeypatch.context() as patch:
    patch.setattr(Monitor, "add", kill)
    with pytest.raises(training.Stopped):
      fit(tmp_path, placement=placement)
  problem.assert_equal(fit(tmp_path, placement=placement), straight[1])
  problem.assert_equal(problem.saved(tmp_path), problem.saved(straight[0]))
  assert problem.lines(tmp_path) == problem.lines(straight[0])


@pytest.mark.slow
def test_eight_devices_equal_one(straight):
  for compiler in ("jit", "pmap"):
    other = fit(devices=8, compiler=compiler, valid=None).last
    for path, leaf in problem.leaves(straight[1].last.params).items():
      # Sums in another order; Adam divides by numbers that may be small.
      np.testing.assert_allclose(
        problem.leaves(other.params)[path], leaf, rtol=1e-3, atol=1e-5
      )


@pytest.mark.slow
def test_learning_from_sequences_of_several_lengths(tmp_path):
  fit(tmp_path, steps=60, eval_every=20)
  losses = [row["loss"] for row in problem.lines(tmp_path, "train")]
  assert losses[-1] < losses[0]
  assert np.isfinite(losses).all()

"""Features that are computed once, before the training of a head."""

import functools
import shutil

import numpy as np
import pytest

from dlcore import experiment, storage, training, trees

MLP = {"name": "mlp", "widths": (16, 16)}
CNN = {"name": "cnn", "stages": ((4,),), "dense": (8,)}


def config(cache=True, augment=(), **sections):
  """Returns a config of the strategy `head`."""
  small = {
    "data": {"name": "digits", "batch_size": 32, "limit": 256},
    "model": MLP,
    "init": {"strategy": {"name": "head", "cache": cache}},
    "optim": {"schedule": {"name": "constant"}},
    "training": {"steps": 12, "checkpoint_every": 2},
    "sharding": {"devices": 1},
    "seed": 5,
    **sections,
  }
  small["data"] = {**small["data"], "augment": dict(augment)}
  return experiment.complete(small)


@pytest.fixture
def trains(monkeypatch):
  """Returns a list of the inputs of each call of `training.fit`."""
  inputs, fit = [], training.fit

  @functools.wraps(fit)
  def recorded(task, tx, train, *arguments, **settings):
    inputs.append(set(train.info.inputs))
    return fit(task, tx, train, *arguments, **settings)

  monkeypatch.setattr(training, "fit", recorded)
  return inputs


def newest(folder):
  step = storage.newest_step(folder / "checkpoints")
  return trees.flatten(storage.read_checkpoint(folder / "checkpoints", step))


@pytest.mark.slow
@pytest.mark.parametrize(
  "sections",
  [
    {"model": {**MLP, "dropout": 0.5}},
    {"model": CNN, "training": {"steps": 12, "ema": 0.9}},
    {
      "data": {"name": "language_id", "batch_size": 32, "sampling": "bucketed"},
      "model": {"name": "lstm", "width": 8},
    },
    {
      "data": {"name": "breast_cancer", "batch_size": 32},
      "model": {"name": "mlp", "widths": (8,)},
    },
  ],
  ids=["dropout", "batch_norm", "buckets", "table"],
)
def test_training_on_features_is_that_on_inputs(trains, tmp_path, sections):
  results = {}
  for cache in (True, False):
    run = tmp_path / str(cache)
    results[cache] = experiment.train(
      config(cache=cache, **sections), run, progress=False
    )
  assert [inputs == {"head_input"} for inputs in trains] == [True, False]
  one, other = newest(tmp_path / "True"), newest(tmp_path / "False")
  assert one.keys() == other.keys()
  for path, leaf in one.items():
    np.testing.assert_allclose(leaf, other[path], rtol=1e-3, atol=1e-5)
  for name, value in results[True]["metrics"].items():
    assert value == pytest.approx(results[False]["metrics"][name], rel=1e-3)


@pytest.mark.slow
def test_a_run_on_features_continues_with_the_same_bits(tmp_path):
  experiment.train(config(), tmp_path / "one", progress=False)
  half = config(training={"steps": 6, "checkpoint_every": 2})
  experiment.train(half, tmp_path / "two", progress=False)
  experiment.train(config(), tmp_path / "two", progress=False)
  one, other = newest(tmp_path / "one"), newest(tmp_path / "two")
  for path, leaf in one.items():
    np.testing.assert_array_equal(leaf, other[path], err_msg=path)


@pytest.mark.slow
def test_augmented_batches_are_not_computed_once(trains, tmp_path):
  augmented = config(augment={"shift": 2})
  experiment.train(augmented, tmp_path / "run", progress=False)
  assert trains == [{"image"}]


@pytest.mark.slow
def test_the_first_phase_of_fine_tuning_is_on_features(trains, tmp_path):
  phases = config(init={"strategy": {"name": "fine_tune"}})
  experiment.train(phases, tmp_path / "run", progress=False)
  assert trains == [{"head_input"}, {"image"}]


@pytest.mark.slow
def test_a_phase_is_left_alone_once_the_next_one_has_begun(trains, tmp_path):
  run = tmp_path / "run"
  phases = config(init={"strategy": {"name": "gradual", "number": 2}})
  experiment.train(phases, run, progress=False)
  before = newest(run)
  assert trains == [{"head_input"}, {"image"}, {"image"}]
  trains.clear()
  (run / "summary.json").unlink()
  experiment.train(phases, run, progress=False)
  assert trains == [{"image"}]
  # It begins again with the weights of the phase before.
  trains.clear()
  (run / "summary.json").unlink()
  shutil.rmtree(run / "checkpoints")
  experiment.train(phases, run, progress=False)
  assert trains == [{"image"}, {"image"}]
  after = newest(run)
  for path, leaf in before.items():
    np.testing.assert_array_equal(leaf, after[path], err_msg=path)

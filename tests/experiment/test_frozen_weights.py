"""Frozen parameters that a run does not save, but loads again."""

import json
import shutil

import numpy as np
import pytest

import dlcore
from dlcore import experiment, models, storage, transfer, trees
from dlcore.errors import UserError

LORA = {"name": "lora", "rank": 2, "dora": True, "base": "int8"}


@pytest.fixture
def config(tiny):
  """Returns a config with wide hidden layers and a strategy."""

  def make(source, strategy, **training):
    return tiny(
      data={"name": "digits", "batch_size": 32, "limit": 256},
      model={"name": "mlp", "widths": (64, 64)},
      init={"source": str(source), "strategy": strategy},
      optim={"learning_rate": 1e-2},
      training={"steps": 4, "eval_every": 2, "checkpoint_every": 1, **training},
      seed=5,
    )

  return make


@pytest.fixture(scope="module")
def source(tiny, tmp_path_factory):
  """A run of the same model."""
  folder = tmp_path_factory.mktemp("runs") / "source"
  wide = tiny(model={"name": "mlp", "widths": (64, 64)}, training={"steps": 30})
  experiment.train(wide, folder, progress=False)
  return folder


def newest(folder):
  step = storage.newest_step(folder / "checkpoints")
  return storage.read_checkpoint(folder / "checkpoints", step)


def assert_same(one, other):
  one, other = trees.flatten(one), trees.flatten(other)
  assert one.keys() == other.keys()
  for path, leaf in one.items():
    np.testing.assert_array_equal(leaf, other[path], err_msg=path)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [{"name": "head"}, LORA])
def test_a_run_continues_with_the_weights_of_its_source(
  config, source, tmp_path, strategy, monkeypatch
):
  experiment.train(config(source, strategy), tmp_path / "one", progress=False)
  assert "frozen" not in newest(tmp_path / "one")["state"].get(
    "model_state", {}
  )
  # A relative path, and another folder at the second start.
  shutil.copytree(source, tmp_path / "a" / "base")
  monkeypatch.chdir(tmp_path / "a")
  relative = config("base", strategy)
  half = {**relative, "training": {**relative["training"], "steps": 2}}
  two = tmp_path / "two"
  experiment.train(half, two, progress=False)
  monkeypatch.chdir(tmp_path)
  experiment.train(relative, two, progress=False)
  assert_same(newest(tmp_path / "one"), newest(two))
  summary = json.loads((two / "summary.json").read_text())
  accuracy = experiment.evaluate(two)["accuracy"]
  assert accuracy == summary["metrics"]["test/accuracy"]


@pytest.mark.slow
def test_changed_or_missing_weights_are_refused(config, source, tmp_path):
  base = shutil.copytree(source, tmp_path / "base")
  run = tmp_path / "run"
  experiment.train(config(base, {"name": "head"}), run, progress=False)
  longer = config(base, {"name": "head"}, steps=8)
  shutil.rmtree(base)
  for call in (
    lambda: experiment.train(longer, run, progress=False),
    lambda: experiment.evaluate(run),
    lambda: dlcore.load(run),
    lambda: experiment.export(run, "safetensors", tmp_path / "out"),
  ):
    with pytest.raises(UserError, match="expected weights"):
      call()
  experiment.train(
    config("", {"name": "full"}, steps=3), tmp_path / "base", progress=False
  )
  for call in (
    lambda: experiment.train(longer, run, progress=False),
    lambda: dlcore.load(run),
  ):
    with pytest.raises(UserError, match="with the sha256"):
      call()


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [{"name": "head"}, LORA])
def test_such_a_run_is_the_source_of_another(
  config, source, tmp_path, strategy
):
  run = tmp_path / "run"
  experiment.train(config(source, strategy), run, progress=False)
  variables = dlcore.load(run).variables
  still = config(run, {"name": "full"}, steps=1)
  still["optim"]["learning_rate"] = 0.0
  experiment.train(still, tmp_path / "next", progress=False)
  assert_same(variables, dlcore.load(tmp_path / "next").variables)
  experiment.export(run, "safetensors", tmp_path / "out")
  _, exported = transfer.from_pretrained(tmp_path / "out")
  assert_same(variables, exported)


@pytest.mark.slow
def test_frozen_random_weights_are_saved(config, tmp_path):
  run = tmp_path / "run"
  experiment.train(config("", {"name": "head"}), run, progress=False)
  assert "frozen" in newest(run)["state"]["model_state"]
  assert experiment.evaluate(run)["step"] >= 0


@pytest.mark.slow
def test_adapters_are_a_small_share_of_a_checkpoint(config, source, tmp_path):
  sizes = {}
  for name in ("full", "lora"):
    run = tmp_path / name
    experiment.train(config(source, {"name": name}), run, progress=False)
    files = (run / "checkpoints" / "4").rglob("*")
    sizes[name] = sum(f.stat().st_size for f in files if f.is_file())
  assert sizes["lora"] < sizes["full"] / 2


@pytest.mark.slow
def test_adapters_are_not_loaded_under_the_names_of_a_model(
  config, source, tmp_path
):
  run = tmp_path / "run"
  experiment.train(config(source, {"name": "lora"}), run, progress=False)
  model = models.create("mlp", num_classes=10, widths=(64, 64))
  with pytest.raises(UserError, match="the adapters of the run"):
    transfer.load_pretrained(run, model, dlcore.load(run).variables)

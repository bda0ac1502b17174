"""Folders of PEFT as the export and as the start of a run."""

import json
import shutil

import jax
import numpy as np
import pytest
from small_vit import FIELDS

from dlcore import experiment, models, storage, tasks, transfer, trees
from dlcore.errors import UserError
from dlcore.experiment import RunFolder
from dlcore.experiment.restoring import restore_run
from dlcore.transfer.io import safetensors
from dlcore.transfer.target_units import TargetUnits

LORA = {
  "name": "lora",
  "rank": 2,
  "alpha": 3.0,
  "pattern": "(query|in)/kernel$",
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  """Published weights of a small ViT for digits."""
  folder = tmp_path_factory.mktemp("weights")
  model = models.create("vit_tiny", num_classes=10, image_size=8, **FIELDS)
  image = np.zeros((1, 8, 8, 1), np.float32)
  variables = jax.jit(model.init, static_argnames="train")(
    jax.random.key(0), image, train=False
  )
  transfer.save_pretrained(folder, model, variables)
  return folder


def settings(source, strategy, *, steps=2, rate=0.01, **init):
  """Returns a complete config of a run that begins with the weights."""
  return experiment.complete(
    {
      "model": {"name": "vit_tiny", **FIELDS},
      "init": {"source": str(source), "strategy": strategy, **init},
      "optim": {"schedule": {"name": "constant"}, "learning_rate": rate},
      "training": {"steps": steps, "eval_every": 1, "checkpoint_every": 1},
      "sharding": {"devices": 1},
    }
  )


@pytest.fixture(scope="module")
def exported(tmp_path_factory, source):
  """A run with adapters, and its folder of PEFT."""
  root = tmp_path_factory.mktemp("runs")
  experiment.train(settings(source, LORA), root / "a", progress=False)
  text = experiment.export(root / "a", "peft", root / "peft")
  assert "adapters of rank 2" in text
  assert "as a whole: classifier" in text
  return root / "a", root / "peft"


def variables_of(run):
  restored = restore_run(run, None)
  return restored.task.variables(restored.params, restored.model_state)


def assert_close(one, other, tolerance=1e-6):
  one, other = trees.flatten(one), trees.flatten(other)
  assert one.keys() == other.keys()
  for path, leaf in one.items():
    np.testing.assert_allclose(leaf, other[path], atol=tolerance, err_msg=path)


@pytest.mark.slow
def test_an_exported_adapter_gives_the_weights_of_the_run(exported, source):
  run, folder = exported
  model, variables = transfer.from_pretrained(source)
  adapters = transfer.load_adapters(folder, model, variables)
  assert adapters.base_model == str(source)
  assert_close(adapters.merged(), variables_of(run))


@pytest.mark.slow
def test_the_card_of_an_adapter_names_its_base(exported, source):
  run, folder = exported
  card = (folder / "README.md").read_text()
  assert "library_name: peft" in card
  assert "Strategy `lora`, with `pattern=" in card
  restored = restore_run(run, None)
  trained = trees.count(restored.params)
  frozen = trees.count(restored.model_state["frozen"])
  assert f"| 1 | 2 | {trained:,} | {frozen:,} |" in card
  load = f"from_pretrained({source.name!r}, num_classes=10)"
  assert load in card
  assert f"--config.init.adapter={folder.name}" in card
  assert str(source.parent) not in card


@pytest.mark.slow
def test_a_run_continues_an_adapter_without_its_folder(
  exported, source, tmp_path, caplog
):
  caplog.set_level("INFO", "dlcore")
  run, original = exported
  folder = shutil.copytree(original, tmp_path / "peft")
  settings_of = {"rate": 0.0, "adapter": str(folder)}
  config = settings(source, {"name": "lora"}, **settings_of)
  experiment.train(config, tmp_path / "b", progress=False)
  assert "rank=2, alpha=3.0" in caplog.text
  assert_close(variables_of(tmp_path / "b"), variables_of(run))
  strategy = RunFolder(tmp_path / "b").config()["init"]["strategy"]
  assert (strategy["rank"], strategy["alpha"]) == (2, 3.0)
  newest = storage.newest_step(tmp_path / "b" / "checkpoints")
  state = storage.read_checkpoint(tmp_path / "b" / "checkpoints", newest)
  trained = trees.flatten(state["state"]["params"])
  assert {path.split("/")[0] for path in trained} == {"adapters", "head"}
  shutil.rmtree(folder)
  experiment.evaluate(tmp_path / "b")
  longer = settings(source, {"name": "lora"}, steps=3, **settings_of)
  experiment.train(longer, tmp_path / "b", progress=False)


@pytest.mark.slow
@pytest.mark.parametrize(
  "strategy",
  [{"name": "lora", "trained": "^norm/"}, {"name": "head", "trained": "^norm"}],
  ids=["lora", "head"],
)
def test_a_frozen_head_of_an_adapter_is_restored_from_its_folder(
  exported, source, tmp_path, monkeypatch, strategy
):
  run, original = exported
  folder = shutil.copytree(original, tmp_path / "a" / "peft")
  new, record = tmp_path / "b", "assets/initial_weights.json"
  monkeypatch.chdir(tmp_path / "a")
  # Of the source, the head is not loaded but random.
  init = {"rate": 0.0, "adapter": "peft", "head": "reinitialized"}
  config = settings(source, strategy, **init)
  summary = experiment.train(config, new, progress=False)
  monkeypatch.chdir(tmp_path)
  assert RunFolder(new).read_json(record)["adapter"] == str(folder)
  assert_close(variables_of(new), variables_of(run))
  loss = experiment.evaluate(new)["loss"]
  assert loss == summary["metrics"]["test/loss"]
  longer = settings(source, strategy, steps=3, **init)
  experiment.train(longer, new, progress=False)
  assert_close(variables_of(new), variables_of(run))
  # Another head is no longer that of the run.
  path = folder / "adapter_model.safetensors"
  arrays = {k: np.array(v) for k, v in safetensors.File(path).items()}
  [name] = [name for name in arrays if name.endswith("classifier.bias")]
  safetensors.write(path, {**arrays, name: arrays[name] + 1})
  with pytest.raises(UserError, match=rf"with the sha256[\s\S]*{folder}"):
    variables_of(new)


@pytest.mark.slow
def test_other_strategies_begin_with_merged_adapters(
  exported, source, tmp_path
):
  run, folder = exported
  config = settings(source, {"name": "full"}, rate=0.0, adapter=str(folder))
  experiment.train(config, tmp_path / "b", progress=False)
  assert_close(variables_of(tmp_path / "b"), variables_of(run))


@pytest.mark.parametrize(
  ("init", "message"),
  [
    ({"strategy": {"name": "lora", "rank": 3}}, r"init\.strategy\.rank=2"),
    ({"strategy": {"name": "lora", "alpha": 2.0}}, r"init\.strategy\.alpha=3"),
    ({"source": ""}, r"expected init\.source"),
    ({"adapter": "nowhere"}, "no such file or folder"),
  ],
)
@pytest.mark.slow
def test_settings_that_contradict_the_adapter_are_refused(
  init, message, exported, source, tmp_path
):
  _, folder = exported
  sections = {"source": source, "strategy": {"name": "lora"}}
  sections |= {"adapter": str(folder), **init}
  config = settings(**sections)
  with pytest.raises(UserError, match=message):
    experiment.train(config, tmp_path / "b", progress=False)


@pytest.mark.slow
def test_a_run_without_adapters_or_source_is_refused(source, tmp_path):
  for strategy, weights, message in (
    ({"name": "full"}, source, "expected a run with init.strategy=lora"),
    (LORA, "", "expected a run with init.source"),
  ):
    folder = tmp_path / strategy["name"]
    experiment.train(settings(weights, strategy), folder, progress=False)
    with pytest.raises(UserError, match=message):
      experiment.export(folder, "peft", tmp_path / "out")
  assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_base_of_an_adapter_is_the_recorded_path(
  source, tmp_path, monkeypatch
):
  monkeypatch.chdir(source.parent)
  config = settings(source.name, LORA)
  experiment.train(config, tmp_path / "run", progress=False)
  monkeypatch.chdir(tmp_path)
  text = experiment.export(tmp_path / "run", "peft", tmp_path / "peft")
  assert f"for {source}, and as a whole" in text
  content = json.loads((tmp_path / "peft/adapter_config.json").read_text())
  assert content["base_model_name_or_path"] == str(source)


@pytest.mark.slow
def test_arrays_of_other_shapes_than_the_base_are_refused(tmp_path):
  """PEFT would load them into a model with the shapes of the base."""
  larger = tmp_path / "larger"
  model = models.create("vit_tiny", num_classes=10, image_size=16, **FIELDS)
  image = np.zeros((1, 16, 16, 1), np.float32)
  variables = model.init(jax.random.key(0), image, train=False)
  transfer.save_pretrained(larger, model, variables)
  config = settings(larger, LORA)
  experiment.train(config, tmp_path / "resized", progress=False)
  with pytest.raises(UserError, match=r"position .* to ") as error:
    experiment.export(tmp_path / "resized", "peft", tmp_path / "out")
  assert len(error.value.lines) == 3
  assert not (tmp_path / "out").exists()


def test_the_head_of_a_regression_is_written_in_units(source, tmp_path):
  task = tasks.regression(
    model := models.create("vit_tiny", num_classes=1, image_size=8, **FIELDS),
    input="image",
  )
  task = tasks.lora(task, LORA["pattern"], rank=2, alpha=3.0)
  batch = {"image": np.zeros((1, 8, 8, 1), np.float32), "target": np.zeros(1)}
  params, state = task.init(jax.random.key(0), batch)
  variables = task.variables(params, state)
  units = TargetUnits(1000.0, 50.0)
  arguments = (model, params, variables)
  folder = tmp_path / "peft"
  entries = transfer.save_adapters(folder, *arguments, alpha=3.0, units=units)
  assert entries["modules_to_save"] == ["classifier"]
  arrays = safetensors.File(folder / "adapter_model.safetensors")
  name = "base_model.model.classifier"
  head = variables["params"]["head"]
  np.testing.assert_allclose(
    arrays[f"{name}.weight"].T, 50 * head["kernel"], rtol=1e-6
  )
  np.testing.assert_allclose(
    arrays[f"{name}.bias"], 50 * head["bias"] + 1000, rtol=1e-6
  )
  adapters = transfer.load_adapters(folder, model, variables)
  assert_close(adapters.merged(), variables, 1e-5)
  transfer.save_adapters(folder, *arguments, alpha=3.0, whole="^params/head/")
  adapters = transfer.load_adapters(folder, model, variables)
  assert_close(adapters.merged(), variables, 1e-5)

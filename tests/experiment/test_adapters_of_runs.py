"""Folders of PEFT as the export and as the start of a run."""

import shutil

import jax
import numpy as np
import pytest

from dlcore import experiment, models, storage, transfer, trees
from dlcore.errors import UserError
from dlcore.experiment import RunFolder
from dlcore.experiment.restoring import restore_run

FIELDS = {
  "patch_size": 4,
  "width": 8,
  "depth": 2,
  "num_heads": 2,
  "mlp_dim": 12,
  "activation": "gelu_exact",
  "pool": "class",
}
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

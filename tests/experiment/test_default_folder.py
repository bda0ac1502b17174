"""The default folder follows the config and its overrides."""

import json

import pytest

from dlcore import experiment
from dlcore.experiment import defaults
from dlcore.experiment.default_folder import run_name


@pytest.mark.parametrize(
  ("changes", "name"),
  [
    ({}, "x"),
    ({"seed": 3}, "x,seed=3"),
    ({"optim.learning_rate": 3e-3}, "x,learning_rate=0.003"),
    ({"model.name": "mlp", "seed": 1}, "x,model=mlp,seed=1"),
    (
      {"training.steps": 5, "optim.schedule.steps": 2},
      "x,optim.schedule.steps=2,training.steps=5",
    ),
    ({"model.batch_norm": True}, "x,batch_norm=True"),
    ({"model.widths": (8, 4)}, "x,widths=8_4"),
  ],
)
def test_a_name_lists_the_changes(changes, name):
  assert run_name("x", changes) == name


def test_paths_with_equal_ends_have_different_names():
  names = {
    run_name("x", {"data.path": path}) for path in ("/a/pets", "/b/pets")
  }
  assert len(names) == 2
  assert all(name.startswith("x,path=pets-") for name in names)


def test_long_names_are_shortened_and_differ():
  changes = {f"section.setting_{i}": i for i in range(30)}
  name = run_name("x", changes)
  assert len(name) <= 120
  assert name != run_name("x", {**changes, "section.setting_29": 0})
  assert "/" not in name


def test_a_second_config_has_its_own_folder(copy, tiny):
  root, name = copy.parent, copy.name
  assert experiment.default_workdir(name, tiny(), root) == copy
  other = experiment.default_workdir(name, tiny(seed=1), root)
  assert other == root / f"{name}_2"
  longer = tiny(training={"steps": 9})
  assert experiment.default_workdir(name, longer, root) == copy
  new = experiment.default_workdir("new", tiny(), root)
  assert new == root / "new"


def test_a_series_of_seeds_continues_in_its_folder(copy, tiny):
  group = copy.parent / "group"
  group.mkdir()
  copy.rename(group / "seed_0")
  for seed in (0, 5):
    folder = experiment.default_workdir("group", tiny(seed=seed), copy.parent)
    assert folder == group
  other = defaults.select_entry(tiny(), "model", "lenet5")
  folder = experiment.default_workdir("group", other, copy.parent)
  assert folder.name == "group_2"


def test_a_cross_validation_continues_in_its_folder(copy, tiny):
  group = copy.parent / "group"
  group.mkdir()
  run = copy.rename(group / "fold_1")
  (run / "sha256.json").unlink()
  content = json.loads((run / "config.json").read_text())
  content["data"] |= {"folds": 5, "fold": 1}
  (run / "config.json").write_text(json.dumps(content))
  folder = experiment.default_workdir("group", tiny(), copy.parent)
  assert folder == group


@pytest.mark.slow
def test_the_second_command_of_a_beginner_works(shell, tmp_path):
  small = (
    "--config.training.steps=1",
    "--config.model.stages=((2,),)",
    "--config.sharding.devices=1",
  )
  first = shell("train", *small)
  assert first.code == 0, first.err
  (folder,) = (tmp_path / "runs").iterdir()
  assert folder.name == "digits_cnn,stages=2,devices=1,steps=1"
  assert any(str(folder.name) in line for line in first.err)
  second = shell("train", *small, "--config.optim.learning_rate=0.01")
  assert second.code == 0, second.err
  assert len(list((tmp_path / "runs").iterdir())) == 2
  again = shell("train", *small)
  assert again.code == 0
  assert "already finished" in again.out
  assert "trained before in" in again.out

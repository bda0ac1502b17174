import json
from pathlib import Path

import pytest

from dlcore import models
from dlcore.experiment import defaults, entry_settings, renames

RUNS = Path(__file__).parents[1] / "runs_v0_1"
STORED = sorted(
  path
  for path in RUNS.glob("*/config.json")
  if (path.parent / "checkpoints").is_dir()
)
ENTRIES = [
  (section, name, settings)
  for section, table in renames.BY_ENTRY.items()
  for name, settings in table.items()
]
PENDING = {
  *renames.COMMON.values(),
  "optim.clip",
  "optim.exponent",
  "optim.factored_from",
  "optim.relative",
  "optim.eps1",
  "optim.beta",
}
"""Leaves that the upgraded configs may have and this version lacks."""


def known_leaves(content):
  names = {
    "data": {"name": content["data"]["name"]},
    "model": {"name": content["model"]["name"]},
    "task": {"name": content["task"]["name"]},
    "optim": {
      "name": content["optim"]["name"],
      "schedule": {"name": content["optim"]["schedule"]["name"]},
    },
  }
  return defaults.leaves(defaults.complete(names)).keys()


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.parent.name)
def test_an_upgraded_config_of_version_0_1_has_known_keys_only(path):
  content = json.loads(path.read_text())
  new = renames.upgrade(content)
  assert new.keys() >= {"seed", "data", "model", "task", "optim", "training"}
  unknown = defaults.leaves(new).keys() - known_leaves(content)
  assert unknown <= PENDING


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.parent.name)
def test_an_upgrade_keeps_every_value_and_is_idempotent(path):
  content = json.loads(path.read_text())
  old, new = (
    defaults.leaves(tree) for tree in (content, renames.upgrade(content))
  )
  names = {section: old.get(f"{section}.name") for section in renames.BY_ENTRY}
  paths = {key: renames.renamed(key, names) or key for key in old}
  assert new == {paths[key]: value for key, value in old.items()}
  assert content == json.loads(path.read_text())
  assert renames.upgrade(renames.upgrade(content)) == renames.upgrade(content)


def test_the_fields_of_a_stored_vit_have_their_new_names():
  content = json.loads((RUNS / "vit_frozen" / "config.json").read_text())
  new = renames.upgrade(content)
  assert new["model"]["num_heads"] == content["model"]["heads"]
  assert new["model"]["patch_size"] == content["model"]["patch"]
  assert "heads" not in new["model"]
  assert new["sharding"] == {"devices": 0}
  assert "scale" not in new


@pytest.mark.parametrize(("section", "name", "settings"), ENTRIES)
def test_new_settings_exist_and_former_ones_do_not(section, name, settings):
  known = defaults.settings(section, name)
  assert settings.keys().isdisjoint(known)
  assert set(settings.values()) <= {*known, *entry_settings.FROM_DATA}


def test_every_model_of_a_class_with_renamed_fields_is_in_the_table():
  classes = {
    type(models.create(name, num_classes=2)).__name__ for name in models.MODELS
  }
  assert classes >= renames.RENAMED.keys()
  assert renames.BY_ENTRY["model"].keys() <= models.MODELS.keys()
  assert "qwen2_0_5b" in renames.BY_ENTRY["model"]
  assert "resnet18" not in renames.BY_ENTRY["model"]


@pytest.mark.parametrize(
  ("path", "new"),
  [
    ("scale.devices", "sharding.devices"),
    ("model.heads", "model.num_heads"),
    ("model.num_heads", None),
    ("model.stages", None),
    ("model", None),
    ("", None),
    ("optim.heads", None),
    ("model.heads.x", None),
  ],
)
def test_a_former_path_has_a_new_one(path, new):
  assert renames.renamed(path, {"model": "vit_tiny"}) == new


def test_a_former_path_of_another_entry_has_no_new_one():
  assert renames.renamed("model.heads", {"model": "cnn"}) is None
  assert renames.renamed("model.heads", {}) is None


@pytest.mark.parametrize(
  "content",
  [
    {},
    {"model": 3},
    {"model": {"name": ["vit_tiny"], "heads": 1}},
    {"scale": {"devices": 1}, "sharding": {"devices": 2}},
    {"scale": {"devices": 1}, "sharding": 3},
    {"scale": 3},
    {"model": {"name": "vit_tiny", "heads": 1, "num_heads": 2}},
  ],
)
def test_an_upgrade_leaves_invalid_content_to_the_reader(content):
  assert renames.upgrade(content) == content


@pytest.mark.parametrize(
  ("name", "key", "value"),
  [
    (name, key, value)
    for name, added in renames.ADDED["data"].items()
    for key, value in added.items()
  ],
)
def test_a_run_without_a_setting_keeps_its_data_as_it_was(name, key, value):
  assert renames.upgrade({"data": {"name": name}})["data"][key] == value
  other = {"data": {"name": name, key: "other"}}
  added = renames.ADDED["data"][name]
  assert renames.upgrade(other) == {"data": {**added, **other["data"]}}
  assert key not in renames.upgrade({"data": {"name": "digits"}})["data"]

import json
import math

import pytest

from dlcore import data, experiment
from dlcore.errors import UserError
from dlcore.experiment import defaults
from dlcore.experiment.entry_settings import TABLES

ENTRIES = [
  (section, name) for section, table in TABLES.items() for name in table.rows
]


@pytest.fixture(scope="module")
def empty_config(tmp_path_factory):
  path = tmp_path_factory.mktemp("configs") / "empty.py"
  path.write_text(
    "from dlcore import experiment\n"
    "def get_config(variant=''):\n"
    "  return experiment.config()\n"
  )
  return path


@pytest.mark.parametrize(("section", "name"), ENTRIES)
def test_every_leaf_of_every_entry_can_be_overridden(
  section, name, empty_config
):
  tree = defaults.select_entry(defaults.complete({}), section, name)
  changed = {}
  for key, value in defaults.leaves(tree).items():
    if isinstance(value, bool):
      value = not value
    elif isinstance(value, int):
      value += 1
    elif isinstance(value, float):
      value = 1e-3 if key == "optim.eps" else value / 2 or 0.5  # In range.
    elif isinstance(value, str) and not key.endswith("name"):
      value = "other"
    changed[key] = value
  texts = {key: str(value) for key, value in changed.items()}
  parsed, run = experiment.read_config(
    str(empty_config), texts, near=empty_config.parent
  )
  assert defaults.leaves(parsed) == changed
  assert run == "empty"


@pytest.mark.parametrize(("section", "name"), ENTRIES)
def test_a_config_is_the_same_after_json(section, name):
  tree = defaults.select_entry(defaults.complete({}), section, name)
  assert defaults.complete(json.loads(json.dumps(tree))) == tree


def test_another_entry_has_its_own_settings_and_keeps_the_common_ones():
  tree = defaults.complete({"optim": {"name": "adam", "learning_rate": 0.5}})
  new = defaults.select_entry(tree, "optim", "momentum")["optim"]
  assert new["learning_rate"] == 0.5
  assert new["momentum"] == 0.9
  assert "b1" not in new


def test_a_name_reads_its_own_settings_in_any_order(empty_config):
  overrides = {"model.widths": "(3,)", "model.name": "mlp"}
  tree, _ = experiment.read_config(
    str(empty_config), overrides, near=empty_config.parent
  )
  assert tree["model"]["widths"] == (3,)


def test_a_section_stands_for_its_name(empty_config):
  overrides = {"optim": "sgd", "optim.schedule": "constant", "model": "mlp"}
  overrides["model.widths"] = "(3,)"
  tree, _ = experiment.read_config(
    str(empty_config), overrides, near=empty_config.parent
  )
  assert tree["optim"]["name"] == "sgd"
  assert tree["optim"]["schedule"]["name"] == "constant"
  assert tree["model"]["widths"] == (3,)


def test_the_first_of_several_mistakes_is_reported(empty_config):
  wrong = [f"training.{name}" for name in ("stepz", "epoch", "emma", "sead")]
  for keys in (wrong, wrong[::-1]):
    overrides = dict.fromkeys(keys, "1")
    with pytest.raises(UserError, match=rf"--config\.{keys[0]}\n") as error:
      experiment.read_config(
        str(empty_config), overrides, near=empty_config.parent
      )
    assert len(error.value.lines) <= 3


@pytest.mark.parametrize(
  ("key", "text", "value"),
  [
    ("rates", "(('head', 10.0),)", (("head", 10.0),)),
    ("rates", "[['head', 10], ['bias$', 0.5]]", (("head", 10), ("bias$", 0.5))),
    ("layers", r"('embed', r'block_(\d+)')", ("embed", r"block_(\d+)")),
    ("layers", "('embed', 'block_(\\d+)')", ("embed", r"block_(\d+)")),
    ("layers", "conv,dense,head", ("conv", "dense", "head")),
  ],
)
def test_rules_over_paths_are_parsed_and_survive_json(
  key, text, value, empty_config
):
  tree, _ = experiment.read_config(
    str(empty_config), {f"optim.{key}": text}, near=empty_config.parent
  )
  assert tree["optim"][key] == value
  assert defaults.complete(json.loads(json.dumps(tree))) == tree
  config = experiment.config(optim={key: value})
  assert defaults.complete(config.to_dict()) == tree


@pytest.mark.parametrize(
  ("given", "hint"),
  [
    ({"trainning": {}}, "'training'"),
    ({"training": {"step": 3}}, "'steps'"),
    ({"model": {"name": "cmn"}}, "'cnn'"),
    ({"data": {"name": "digit"}}, "'digits'"),
    ({"data": {"augment": {"shfit": 1}}}, "'shift'"),
    ({"model": 3}, "3"),
    ({"model": {"name": ["cnn"]}}, "['cnn']"),
    ({"model": {"stages": (16, 32)}}, "((16,), (32,))"),
    ({"seed": 1.5}, "int"),
    ({"optim": {"learning_rate": math.nan}}, "nan"),
    ({"optim": {"learning_rate": 10**400}}, "finite numbers"),
    ({"optim": {"learning_rate": -1.0}}, "-1"),
    ({"training": {"steps": -1}}, "-1"),
    ({"training": {"ema": 1.0}}, "1.0"),
    ({"data": {"batch_size": 0}}, "0"),
    ({"seed": 2**32}, "4294967295"),
  ],
)
def test_a_wrong_config_is_an_error_with_a_hint(given, hint):
  with pytest.raises(UserError) as error:
    experiment.config(**given)
  assert hint in str(error.value)
  assert len(error.value.lines) <= 3


def test_an_entry_with_a_setting_of_the_whole_section_is_refused(monkeypatch):
  monkeypatch.setitem(data.DATASETS, "mine", lambda *, limit=3: limit)
  with pytest.raises(UserError, match="'limit' in the data set 'mine'"):
    defaults.complete({"data": {"name": "mine"}})


def test_every_range_belongs_to_a_leaf():
  assert defaults.OWN_RANGES.keys() <= defaults.leaves(defaults.DEFAULTS).keys()


@pytest.mark.parametrize(
  ("loader", "got"),
  [
    (lambda *, folder: folder, "no default"),
    (lambda *, transform=None: transform, "None"),
    (lambda *, sizes=[1]: sizes, r"\[1\]"),
    (lambda *, sizes=(1, None): sizes, r"\(1, None\)"),
  ],
)
def test_an_entry_whose_default_no_config_holds_is_refused(
  loader, got, monkeypatch
):
  monkeypatch.setitem(data.DATASETS, "mine", loader)
  with pytest.raises(UserError, match=f"got {got} in the data set 'mine'"):
    defaults.complete({"data": {"name": "mine"}})

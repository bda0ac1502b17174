"""Checkpoints of dlcore 0.1 get the current names; continuing is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from dlcore import storage, trees
from dlcore.errors import UserError

RUNS = Path(__file__).parents[1] / "runs_v0_1"
NAMES = ("cnn_ema", "mlp_schedule_free", "table_adafactor", "vit_frozen")


@pytest.fixture(params=NAMES)
def folder(request, tmp_path):
  shutil.copytree(RUNS / request.param / "checkpoints", tmp_path / "old")
  return tmp_path / "old"


def test_the_state_and_the_decisions_have_the_current_names(folder):
  tree = storage.read_checkpoint(folder, 40)
  state = tree["state"]
  assert {"params", "model_state", "opt_state", "average"} <= state.keys()
  assert not {"extra", "optimizer", "ema", "decided"} & state.keys()
  assert state["step"] == 40
  assert "settings" not in state["model_state"]
  assert tree["decisions"]["best_step"] == 40
  for leaf in trees.flatten(tree).values():
    assert isinstance(leaf, np.ndarray | np.generic)


def test_the_average_covers_parameters_where_the_run_had_one():
  paths = {}
  for name in NAMES:
    tree = storage.read_checkpoint(RUNS / name / "checkpoints", 40)
    average = tree["state"]["average"]
    params = trees.flatten(tree["state"]["params"])
    paths[name] = trees.flatten(average.get("params", {}))
    for path, leaf in paths[name].items():
      assert leaf.shape == params[path].shape
    assert average.keys() == ({"params"} if paths[name] else set())
  assert not paths["table_adafactor"]
  assert set(paths["vit_frozen"]) == {"head/kernel", "head/bias"}
  assert "conv_0/kernel" in paths["cnn_ema"]


def test_batch_statistics_stay_in_the_model_state():
  tree = storage.read_checkpoint(RUNS / "cnn_ema" / "checkpoints", 40)
  assert tree["state"]["model_state"].keys() == {"batch_stats"}


def test_the_best_and_the_newest_step_are_known(folder):
  assert storage.newest_step(folder) == 40
  assert storage.best_step(folder) == 40
  assert storage.is_good(folder, 40)


def test_continuing_is_refused_and_changes_nothing(folder):
  template = storage.read_checkpoint(folder, 40)
  paths = {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}
  checkpoints = storage.Checkpoints(folder)
  for restore in (
    lambda: storage.restore(folder, template),
    lambda: checkpoints.restore(template),
    lambda: checkpoints.roll_back(40, template),
  ):
    with pytest.raises(UserError, match=r"dlcore 0\.1") as error:
      restore()
    assert len(error.value.lines) == 3
    assert "evaluated, exported" in error.value.lines[2]
  checkpoints.close()
  assert paths == {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}


def test_damage_is_recognized(folder):
  (folder / "40" / "state" / "more").write_text("x")
  assert not storage.is_good(folder, 40)
  with pytest.raises(UserError, match="undamaged"):
    storage.read_checkpoint(folder, 40)

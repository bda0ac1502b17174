"""Folders that version 0.1 wrote are still loaded."""

from pathlib import Path

import jax
import numpy as np
import pytest

from dlcore import models, storage, transfer, trees
from dlcore.errors import UserError
from dlcore.transfer.families import own
from dlcore.transfer.io import safetensors, sources

FOLDER = Path(__file__).parents[1] / "runs_v0_1"
RUNS = sorted(path.parent for path in FOLDER.glob("*/checkpoints"))


def test_an_export_is_loaded_bit_for_bit():
  model, variables = transfer.from_pretrained(FOLDER / "cnn_export")
  assert isinstance(model, models.CNN)
  file = safetensors.File(FOLDER / "cnn_export" / "model.safetensors")
  loaded = trees.flatten(variables)
  assert loaded.keys() == set(file)
  for path, leaf in loaded.items():
    np.testing.assert_array_equal(leaf, file[path], err_msg=path)


@pytest.mark.parametrize("run", RUNS, ids=lambda path: path.name)
def test_the_variables_of_a_run_are_read(run):
  arrays = sources.open_weights(run).arrays
  assert any(path.startswith("params/") for path in arrays)
  collections = {path.split("/")[0] for path in arrays}
  assert collections <= {"params", "batch_stats"}


def test_averaged_parameters_replace_the_raw_ones():
  checkpoints = FOLDER / "cnn_ema" / "checkpoints"
  step = storage.best_step(checkpoints)
  assert step is not None
  state = storage.read_checkpoint(checkpoints, step)["state"]
  arrays = sources.open_weights(FOLDER / "cnn_ema").arrays
  average = trees.flatten(state["average"])
  assert average
  for path, leaf in average.items():
    np.testing.assert_array_equal(arrays[path], leaf, err_msg=path)


@pytest.mark.parametrize("name", models.MODELS)
def test_every_field_of_version_0_1_has_a_current_name(name):
  current = set(models.create(name).__dataclass_fields__)
  for cls, renamed in own.RENAMED.items():
    if cls == type(models.create(name)).__name__:
      assert set(renamed.values()) <= current
      assert not set(renamed) & current


@pytest.mark.slow
def test_an_export_with_the_fields_of_version_0_1_builds_the_same_model(
  tmp_path,
):
  fields = {"patch": 4, "width": 8, "depth": 1, "heads": 2, "hidden": 12}
  model = models.create(
    "vit_tiny",
    num_classes=3,
    **{"patch_size": 4, "width": 8, "depth": 1, "num_heads": 2, "mlp_dim": 12},
  )
  images = np.zeros((1, 8, 8, 1), np.float32)
  variables = model.init(jax.random.key(0), images, train=False)
  config = {
    "model": {"name": "vit_tiny", "num_classes": 3, **fields},
    "input": [8, 8, 1],
  }
  transfer.save_pretrained(
    tmp_path, model, variables, config=config, family=transfer.OWN
  )
  loaded, again = transfer.from_pretrained(tmp_path)
  assert loaded == model
  jax.tree.map(np.testing.assert_array_equal, again, variables)


def test_current_names_of_fields_are_kept():
  fields = {"num_heads": 2, "patch": 4, "width": 8}
  expected = {"num_heads": 2, "patch_size": 4, "width": 8}
  assert transfer.current_fields("vit_tiny", fields) == expected
  with pytest.raises(UserError, match="did you mean 'vit_tiny'"):
    transfer.current_fields("vit_tny", fields)

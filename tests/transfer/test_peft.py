"""Folders of PEFT: its outputs, round trips, and no other trained array."""

import jax
import numpy as np
import peft_folders
import pytest
from peft_folders import CASES, case

from dlcore import transfer, trees
from dlcore.transfer import stacked_blocks
from dlcore.transfer.families import name_rules

TOLERANCE = 1e-5


def difference(actual, expected):
  return np.abs(actual - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("name", CASES)
def test_merged_adapters_give_the_outputs_and_weights_of_peft(name):
  golden = case(name)
  adapters = transfer.load_adapters(
    golden.folder, golden.model, golden.variables
  )
  merged = adapters.merged()
  assert difference(golden.logits(merged), golden.output) < TOLERANCE
  assert difference(golden.logits(golden.variables), golden.output) > 0.01
  arrays = stacked_blocks.unstack(trees.flatten(merged))
  published = name_rules.save(golden.rules, arrays)
  for key, expected in golden.merged.items():
    if key in published:
      assert difference(published[key], expected) < TOLERANCE, key


@pytest.mark.parametrize("name", CASES)
def test_a_task_continues_the_adapter_and_trains_nothing_else(name):
  golden = case(name)
  adapters = transfer.load_adapters(
    golden.folder, golden.model, golden.variables
  )
  task, params, state = peft_folders.parts(golden, adapters)
  params, state = adapters.initial(task)(params, state)
  variables = task.variables(params, state)
  assert difference(golden.logits(variables), golden.output) < TOLERANCE
  trained = set(trees.flatten(params)) - {
    path for path in trees.flatten(params) if path.startswith("adapters/")
  }
  heads = {"bert": "head", "vit": "head"}
  assert {path.split("/")[0] for path in trained} == set(
    filter(None, [heads.get(name)])
  )
  base = trees.flatten(golden.variables["params"])
  for path, leaf in trees.flatten(state["frozen"]).items():
    np.testing.assert_array_equal(leaf, base[path])


@pytest.mark.parametrize("name", CASES)
def test_folders_that_are_written_again_have_the_same_outputs(name, tmp_path):
  golden = case(name)
  adapters = transfer.load_adapters(
    golden.folder, golden.model, golden.variables
  )
  task, params, state = peft_folders.parts(golden, adapters)
  params, state = adapters.initial(task)(params, state)
  settings = {
    k: adapters.settings[k] for k in ("alpha", "rank_stabilized", "dropout")
  }
  entries = transfer.save_adapters(
    tmp_path, golden.model, params, task.variables(params, state), **settings
  )
  again = transfer.load_adapters(tmp_path, golden.model, golden.variables)
  assert difference(golden.logits(again.merged()), golden.output) < TOLERANCE
  assert again.settings == adapters.settings
  assert entries["use_dora"] == adapters.settings["dora"]


def test_the_key_is_used(tmp_path):
  del tmp_path
  assert jax.random.key(0) is not None

"""Folders of PEFT: its outputs, round trips, and no other trained array."""

import jax
import numpy as np
import peft_folders
import pytest
import written_adapters
from peft_folders import CASES, case

from dlcore import transfer, trees
from dlcore.transfer import stacked_blocks
from dlcore.transfer.families import name_rules

TOLERANCE = 1e-5


def difference(actual, expected):
  return np.abs(actual - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.fast_cases("vit_dora")
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
@pytest.mark.fast_cases("gpt2_dora")
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
@pytest.mark.fast_cases("gpt2")
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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bert", "bert_patterns", "gpt2", "llama"])
def test_scanned_blocks_have_the_same_adapters(name, tmp_path):
  golden = case(name, scan=True)
  adapters = transfer.load_adapters(
    golden.folder, golden.model, golden.variables
  )
  assert difference(golden.logits(adapters.merged()), golden.output) < TOLERANCE
  task, params, state = peft_folders.parts(golden, adapters)
  params, state = adapters.initial(task)(params, state)
  variables = task.variables(params, state)
  assert difference(golden.logits(variables), golden.output) < TOLERANCE
  settings = {k: adapters.settings[k] for k in ("alpha", "rank_stabilized")}
  transfer.save_adapters(tmp_path, golden.model, params, variables, **settings)
  plain = case(name)
  again = transfer.load_adapters(tmp_path, plain.model, plain.variables)
  assert difference(plain.logits(again.merged()), plain.output) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("name", written_adapters.CASES)
def test_folders_of_any_family_are_read_again(name, tmp_path):
  parts = written_adapters.write(tmp_path, name)
  adapters = transfer.load_adapters(
    tmp_path / "adapter", parts["model"], parts["base"]
  )
  merged = trees.flatten(adapters.merged())
  for path, leaf in trees.flatten(parts["variables"]).items():
    np.testing.assert_allclose(merged[path], leaf, atol=1e-5, err_msg=path)
  assert adapters.settings["rank"] == 2
  assert adapters.settings["alpha"] == pytest.approx(parts["settings"]["alpha"])


@pytest.mark.slow
def test_a_step_changes_adapters_and_head_alone():
  golden = case("bert")
  adapters = transfer.load_adapters(
    golden.folder, golden.model, golden.variables
  )
  task, params, state = peft_folders.parts(golden, adapters)
  params, state = adapters.initial(task)(params, state)
  rows = np.arange(len(golden.inputs))
  batch = {"input_ids": golden.inputs, "label": rows % 3}
  batch |= {"index": rows, "slot": rows}

  def loss(params):
    return task.loss(params, state, batch, jax.random.key(0))[0][0]

  gradients = trees.flatten(jax.grad(loss)(params))
  assert {path.split("/")[0] for path in gradients} == {"adapters", "head"}
  # An adapter of PEFT is trained from its own B, which is not 0.
  assert all(np.abs(gradient).max() > 0 for gradient in gradients.values())

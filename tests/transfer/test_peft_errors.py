"""Folders of PEFT that are refused, and adapters that PEFT cannot express."""

import json

import jax
import numpy as np
import peft_folders
import pytest
from peft_folders import case, copied

from dlcore import models, tasks, transfer, trees
from dlcore.errors import UserError
from dlcore.transfer.peft import module_names

QUERY = (
  "base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight"
)


def load(folder, name="bert"):
  golden = case(name)
  return transfer.load_adapters(folder, golden.model, golden.variables)


@pytest.mark.parametrize(
  ("entries", "message"),
  [
    ({"peft_type": "IA3"}, "peft_type='LORA'"),
    ({"peft_type": None}, "peft_type='LORA'"),
    ({"peft_type": ["LORA"]}, "peft_type='LORA'"),
    ({"bias": "all"}, "expected bias='none'"),
    ({"lora_bias": True}, "lora_bias"),
    ({"init_lora_weights": "pissa"}, "init_lora_weights"),
    ({"init_lora_weights": 3}, "init_lora_weights"),
    ({"layer_replication": [[0, 1]]}, "layer_replication"),
    ({"target_parameters": ["x"]}, "target_parameters"),
    ({"an_entry_of_the_future": 1}, "an_entry_of_the_future"),
    ({"r": 4}, r"expected the shape \[4, 12\]"),
    ({"r": 10**30}, "a rank from 1 to"),
    ({"r": 2.0}, "a rank from 1 to"),
    ({"r": True}, "a rank from 1 to"),
    ({"lora_alpha": 0}, "lora_alpha=0, which is not above 0"),
    ({"lora_alpha": 10**400}, "lora_alpha"),
    ({"lora_alpha": "1"}, "lora_alpha"),
    ({"lora_dropout": 1.0}, "lora_dropout"),
    ({"use_dora": 1}, "use_dora"),
    ({"use_dora": True}, r"lora_magnitude_vector"),
    ({"rank_pattern": [1]}, "rank_pattern"),
    ({"rank_pattern": {"query": "x"}}, "rank_pattern"),
    ({"rank_pattern": {"(a|a|b)+$": 3}}, "with the pattern"),
    ({"rank_pattern": {".*" * 40: 3}}, "with the pattern"),
    ({"rank_pattern": {"[9-0]x": 3}}, "with the pattern"),
    ({"alpha_pattern": {"(": 3}}, "with the pattern"),
    ({"modules_to_save": "classifier"}, "modules_to_save"),
    ({"modules_to_save": ["pooler"]}, "arrays of modules_to_save"),
    ({"target_modules": ["query", "key"]}, "an adapter of each module"),
    ({"target_modules": [1]}, "target_modules"),
  ],
  ids=lambda value: str(value)[:40],
)
def test_configs_are_refused(entries, message, tmp_path):
  folder = copied(case("bert").folder, tmp_path, **entries)
  with pytest.raises(UserError, match=message):
    load(folder)


def changed(**replaced):
  """Returns the function that replaces arrays; None removes one."""

  def change(arrays):
    new = {**arrays, **replaced}
    return {name: array for name, array in new.items() if array is not None}

  return change


def renamed(arrays):
  return {f"x.{name}": array for name, array in arrays.items()}


CLASSIFIER = "base_model.model.classifier.weight"
ZEROS = np.zeros((3, 12), np.float32)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (changed(**{QUERY: None}), "no such array"),
    (changed(**{QUERY: ZEROS.T}), r"\[3, 12\].*\n.*\[12, 3\]"),
    (changed(**{QUERY: ZEROS + np.nan}), "expected finite values"),
    (changed(**{QUERY: ZEROS.astype(np.int32)}), "int32"),
    (changed(**{QUERY.replace("0", "7", 1): ZEROS}), "modules of the model"),
    (changed(**{CLASSIFIER: np.zeros((5, 12), np.float32)}), r"\[12, 3\]"),
    (changed(**{CLASSIFIER: None}), "arrays of modules_to_save"),
    (changed(**{CLASSIFIER: ZEROS + np.inf}), "expected finite values"),
    (changed(**{"base_model.model.x.weight": ZEROS}), "that the model has"),
    (changed(**{QUERY.replace("lora_A.weight", "lora_embedding_A"): ZEROS}),
     "embeddings"),
    (renamed, "expected names such as base_model.model"),
    (lambda arrays: {CLASSIFIER: arrays[CLASSIFIER]}, "adapters of some"),
  ],
)  # fmt: skip
def test_arrays_are_refused(change, message, tmp_path):
  folder = copied(case("bert").folder, tmp_path, arrays=change)
  with pytest.raises(UserError, match=message):
    load(folder)


@pytest.mark.parametrize("content", ["[]", "{", "1", '{"r": NaN}', "\0", ""])
def test_a_config_is_a_json_object(content, tmp_path):
  folder = copied(case("bert").folder, tmp_path)
  (folder / "adapter_config.json").write_text(content)
  with pytest.raises(UserError, match="expected a JSON object"):
    load(folder)


def test_other_files_are_refused(tmp_path):
  folder = copied(case("bert").folder, tmp_path)
  arrays = folder / "adapter_model.safetensors"
  with pytest.raises(UserError, match="pass its folder"):
    load(arrays)
  with pytest.raises(UserError, match="no such file or folder"):
    load(tmp_path / "nothing")
  arrays.rename(tmp_path / "moved")
  with pytest.raises(UserError, match=r"got no adapter_model\.safetensors"):
    load(folder)
  (folder / "adapter_model.bin").write_bytes(b"\x80\x02")
  with pytest.raises(UserError, match="a pickle"):
    load(folder)
  arrays.symlink_to(tmp_path / "moved")
  with pytest.raises(UserError, match="expected a plain file"):
    load(folder)


def test_adapters_of_another_model_are_refused():
  with pytest.raises(UserError, match=r"modules of the model|in the format of"):
    load(case("gpt2").folder)


@pytest.mark.slow
def test_a_task_with_other_settings_is_refused():
  golden = case("bert")
  adapters = load(golden.folder)
  for changes, message in (
    ({"rank": 4}, "expected a task with rank=3"),
    ({"dora": True}, "expected a task with dora=False"),
    ({"pattern": "query/kernel$"}, "the adapters of the folder"),
  ):
    task, params, state = peft_folders.parts(golden, adapters, **changes)
    with pytest.raises(UserError, match=message):
      adapters.initial(task)(params, state)


TEXT = {"vocab_size": 9, "width": 8, "depth": 1, "num_heads": 2, "mlp_dim": 8}


@pytest.mark.parametrize(
  ("name", "fields", "settings", "message"),
  [
    ("bert_base", TEXT, {"pattern": "word_embedding"}, "not the kernel"),
    ("gpt2", {**TEXT, "head": "lm"}, {"trained": "word_emb"}, "one module"),
    ("mlp", {"widths": (4,)}, {}, "names of PyTorch"),
    ("convnext_tiny", {"widths": (4, 8), "depths": (1, 1)},
     {"pattern": "depthwise/kernel$"}, "depthwise"),
    ("bert_base", TEXT, {"pattern": "pooler/kernel$", "whole": "pooler"},
     "not trained as a whole"),
  ],
)  # fmt: skip
def test_adapters_that_peft_lacks_are_refused(
  name, fields, settings, message, tmp_path
):
  model = models.create(name, num_classes=3, **fields)
  of_text = "vocab_size" in fields
  key = "input_ids" if of_text else "image"
  batch = {key: np.zeros((1, 4) if of_text else (1, 32, 32, 3), np.int32)}
  whole = settings.get("whole", "")
  settings = {k: v for k, v in settings.items() if k != "whole"}
  task = tasks.lora(tasks.classification(model, input=key), **settings)
  shapes = jax.eval_shape(task.init, jax.random.key(0), batch)
  params, state = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), shapes)
  variables = task.variables(params, state)
  with pytest.raises(UserError, match=message):
    transfer.save_adapters(tmp_path, model, params, variables, whole=whole)
  assert not list(tmp_path.iterdir())


def test_params_without_adapters_are_refused(tmp_path):
  golden = case("bert")
  params = golden.variables["params"]
  with pytest.raises(UserError, match="got params without adapters"):
    transfer.save_adapters(tmp_path, golden.model, params, golden.variables)


def test_values_that_are_not_finite_are_not_written(tmp_path):
  golden = case("bert")
  adapters = load(golden.folder)
  task, params, state = peft_folders.parts(golden, adapters)
  params = jax.tree.map(lambda x: x + np.nan, params)
  variables = task.variables(params, state)
  with pytest.raises(UserError, match="expected finite values"):
    transfer.save_adapters(tmp_path, golden.model, params, variables)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ("chosen", "others", "expected"),
  [
    (["a.0.q", "a.1.q"], ["a.0.k"], ["q"]),
    (["a.0.q"], ["a.1.q"], ["0.q"]),
    (["a.0.x.q"], ["a.1.x.q", "a.0.y.q"], ["0.x.q"]),
    (["conv"], ["layer.conv"], "conv"),
  ],
)
def test_targets_match_the_chosen_modules_alone(chosen, others, expected):
  assert module_names.targets(chosen, others) == expected


@pytest.mark.slow
def test_the_config_of_a_folder_is_written_as_it_is_read(tmp_path):
  golden = case("gpt2")
  adapters = load(golden.folder, "gpt2")
  task, params, state = peft_folders.parts(golden, adapters)
  params, state = adapters.initial(task)(params, state)
  entries = transfer.save_adapters(
    tmp_path,
    golden.model,
    params,
    task.variables(params, state),
    alpha=adapters.settings["alpha"],
    base_model="hf:org/name@main",
  )
  text = (tmp_path / "adapter_config.json").read_text()
  assert json.loads(text) == entries
  assert entries["base_model_name_or_path"] == "org/name"
  assert (entries["revision"], entries["fan_in_fan_out"]) == ("main", True)
  # The three updates of c_attn have one A, so its rank is that of PEFT.
  assert (entries["r"], entries["rank_pattern"]) == (2, {})
  assert trees.flatten(params["adapters"])

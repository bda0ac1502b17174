"""Entries of config.json that describe no array survive loading and saving."""

import json
import pickle

import jax
import numpy as np
import pytest
from small_models import IDS, TEXT, initialized

from dlcore import models, transfer
from dlcore.transfer.io import safetensors

IMAGES = {"patch_size": 4, "width": 8, "depth": 1, "num_heads": 2}
UNKNOWN = {
  "eos_token_id": [3, 4],
  "pad_token_id": 5,
  "bos_token_id": 2,
  "transformers_version": "4.57.0",
  "task_specific_params": {"text-generation": {"do_sample": True}},
  "an_entry_of_the_future": [1, {"a": None}],
}
GENERATION = {"eos_token_id": [3, 4], "temperature": 0.6}


def config_of(folder):
  return json.loads((folder / "config.json").read_text())


def published(folder, name, inputs=(IDS,), *, family="", entries, **fields):
  """Writes a folder with additional entries; returns its config.json."""
  model = models.create(name, **fields)
  variables = initialized(model, *inputs)
  transfer.save_pretrained(folder, model, variables, family=family)
  config = {**config_of(folder), **entries}
  (folder / "config.json").write_text(json.dumps(config))
  (folder / "generation_config.json").write_text(json.dumps(GENERATION))
  return config


TEXTS = {
  "bert_base": {"head": "classifier", "num_classes": 2},
  "distilbert": {"head": "tokens", "num_classes": 2},
  "gpt2": {},
  "llama2_7b": {},
  "qwen2_0_5b": {"num_kv_heads": 1},
  "marian": {},
}


@pytest.mark.fast_cases("bert_base", "gpt2")
@pytest.mark.parametrize(
  "name",
  TEXTS,
)
def test_a_folder_is_written_as_it_was_read(name, tmp_path):
  inputs = (IDS, IDS) if name == "marian" else (IDS,)
  labels = {"id2label": {"0": "cat", "1": "dog"}}
  entries = UNKNOWN | (labels if "num_classes" in TEXTS[name] else {})
  config = published(
    tmp_path / "a", name, inputs, entries=entries, **TEXT, **TEXTS[name]
  )
  model, variables = transfer.from_pretrained(tmp_path / "a")
  transfer.save_pretrained(tmp_path / "b", model, variables)
  written = config_of(tmp_path / "b")
  if "id2label" in entries:
    config["label2id"] = {"cat": 0, "dog": 1}
  assert written == config
  generation = tmp_path / "b" / "generation_config.json"
  assert json.loads(generation.read_text()) == GENERATION
  # A second round trip changes nothing either.
  again, _ = transfer.from_pretrained(tmp_path / "b")
  assert again == model


@pytest.mark.parametrize("family", ["vit", "timm/vit"])
def test_an_image_model_keeps_its_family_and_entries(family, tmp_path):
  entries = {
    "vit": {"encoder_stride": 16, "id2label": {"0": "a", "1": "b"}},
    "timm/vit": {
      "label_names": ["a", "b"],
      "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "input_size": [3, 8, 8]},
    },
  }[family]
  image = np.zeros((1, 8, 8, 1), np.float32)
  fields = {"num_classes": 2, "image_size": 8, **IMAGES}
  if family == "timm/vit":
    fields |= {"pool": "class", "activation": "gelu_exact", "eps": 1e-6}
  config = published(
    tmp_path / "a",
    "vit_tiny",
    (image,),
    family=family,
    entries=entries,
    **fields,
  )
  model, variables = transfer.from_pretrained(tmp_path / "a")
  assert transfer.save_pretrained(tmp_path / "b", model, variables) == family
  written = config_of(tmp_path / "b")
  written.pop("label2id", None)
  config.pop("label2id", None)
  assert written == config


def test_other_spellings_of_the_same_model_are_kept(tmp_path):
  entries = {"activation_function": "gelu_fast", "n_inner": 12}
  config = published(tmp_path / "a", "gpt2", entries=entries, **TEXT)
  model, variables = transfer.from_pretrained(tmp_path / "a")
  transfer.save_pretrained(tmp_path / "b", model, variables)
  assert config_of(tmp_path / "b") == config


def test_entries_that_contradict_the_model_are_replaced(tmp_path):
  entries = {
    **UNKNOWN,
    "num_labels": 2,
    "id2label": {"0": "cat", "1": "dog"},
    "label2id": {"cat": 0, "dog": 1},
    "torch_dtype": "bfloat16",
    "attn_pdrop": 0.3,
  }
  published(tmp_path / "a", "gpt2", entries=entries, **TEXT)
  model = models.create("gpt2", head="classifier", num_classes=3, **TEXT)
  variables, report = transfer.load_pretrained(
    tmp_path / "a", model, initialized(model, IDS)
  )
  json.dumps(report.published)
  files = transfer.read_published(tmp_path / "a")
  for source in (report.published, files):
    transfer.save_pretrained(tmp_path / "b", model, variables, published=source)
    config = config_of(tmp_path / "b")
    assert config["architectures"] == ["GPT2ForSequenceClassification"]
    assert config["id2label"] == {str(i): f"LABEL_{i}" for i in range(3)}
    assert config["label2id"] == {f"LABEL_{i}": i for i in range(3)}
    assert config["torch_dtype"] == "float32"
    assert config["attn_pdrop"] == 0.0
    assert UNKNOWN.items() <= config.items()
    loaded, _ = transfer.from_pretrained(tmp_path / "b")
    assert loaded == model


def test_class_names_are_dropped_with_the_head_that_they_belong_to(tmp_path):
  labels = {"id2label": {"0": "cat", "1": "dog"}}
  fields = {"head": "classifier", "num_classes": 2, **TEXT}
  published(tmp_path / "a", "bert_base", entries=labels, **fields)
  model = models.create("bert_base", **fields)
  for head, kept in (("published", True), ("reinitialized", False)):
    variables, report = transfer.load_pretrained(
      tmp_path / "a", model, initialized(model, IDS), head=head
    )
    transfer.save_pretrained(
      tmp_path / "b", model, variables, published=report.published
    )
    assert (config_of(tmp_path / "b")["id2label"]["0"] == "cat") == kept


def test_changed_fields_replace_those_of_the_format_of_dlcore(tmp_path):
  model = models.create("mlp", num_classes=3, widths=(4, 5))
  variables = initialized(model, np.ones((2, 6), np.float32))
  section = {"name": "mlp", "num_classes": 3, "widths": [4, 5]}
  config = {"model": section, "input": [6], "classes": ["a", "b", "c"]}
  transfer.save_pretrained(tmp_path / "a", model, variables, config=config)
  loaded, variables = transfer.from_pretrained(tmp_path / "a", dropout=0.5)
  transfer.save_pretrained(tmp_path / "b", loaded, variables)
  written = config_of(tmp_path / "b")
  assert written["classes"] == ["a", "b", "c"]
  assert transfer.from_pretrained(tmp_path / "b")[0] == loaded


def test_channels_of_the_arrays_count(tmp_path):
  """A published number of channels does not survive another one."""
  image = np.zeros((1, 8, 8, 1), np.float32)
  fields = {"num_classes": 2, "image_size": 8, **IMAGES}
  published(tmp_path / "a", "vit_tiny", (image,), entries={}, **fields)
  model, _ = transfer.from_pretrained(tmp_path / "a")
  colored = initialized(model, np.zeros((1, 8, 8, 3), np.float32))
  transfer.save_pretrained(tmp_path / "b", model, colored)
  assert config_of(tmp_path / "b")["num_channels"] == 3


def test_a_model_with_published_entries_can_be_pickled_and_traced(tmp_path):
  published(tmp_path / "a", "gpt2", entries=UNKNOWN, **TEXT)
  model, variables = transfer.from_pretrained(tmp_path / "a")
  restored = pickle.loads(pickle.dumps(model))
  assert restored == model
  apply = jax.jit(lambda v, ids: model.apply(v, ids, train=False))
  assert np.isfinite(apply(variables, IDS)).all()
  transfer.save_pretrained(tmp_path / "b", restored, variables)
  assert UNKNOWN.items() <= config_of(tmp_path / "b").items()
  arrays = safetensors.File(tmp_path / "b" / "model.safetensors")
  assert "transformer.wte.weight" in arrays

"""Only folders that can be read again are written."""

import json

import jax
import ml_dtypes
import numpy as np
import pytest
from small_models import IDS, TEXT, initialized

from dlcore import models, transfer, trees
from dlcore.errors import UserError
from dlcore.transfer import selection
from dlcore.transfer.io import safetensors

LAYER = "params/block_0/attention/query/bias"


@pytest.fixture(scope="module")
def bert():
  model = models.create("bert_base", **TEXT, head="classifier", num_classes=3)
  return model, initialized(model, IDS)


def changed(variables, **arrays):
  """Returns variables with other arrays; None removes one."""
  flat = {**trees.flatten(variables), **arrays}
  return trees.nest({k: v for k, v in flat.items() if v is not None})


@pytest.mark.parametrize(
  ("arrays", "expected"),
  [
    ({LAYER: None}, f"missing {LAYER}"),
    ({LAYER: np.zeros(9)}, rf"{LAYER} \[9\] instead of \[8\]"),
    (
      {"params/head/kernel": None, "params/head/bias": None},
      "missing params/head",
    ),
    ({LAYER: np.full(8, np.nan)}, "got NaN"),
    ({LAYER: np.zeros(8, np.int32)}, "got int32"),
    ({LAYER: np.zeros(8, np.complex64)}, "got complex64"),
    ({LAYER: np.zeros(8, ml_dtypes.float8_e5m2)}, "got float8_e5m2"),
  ],
)
def test_parameters_that_the_loader_would_refuse_are_not_written(
  arrays, expected, bert, tmp_path
):
  model, variables = bert
  with pytest.raises(UserError, match=expected) as error:
    transfer.save_pretrained(tmp_path, model, changed(variables, **arrays))
  assert len(error.value.lines) == 3
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ("config", "expected"),
  [
    ({"model_type": "gpt2"}, "expected a model of the family 'bert'"),
    ({"hidden_size": 16}, "instead of"),
    ({"hidden_size": "wide"}, "expected config to describe the model"),
    ({"architectures": ["BertModel"]}, "additional params/head"),
    (
      {"num_attention_heads": 4, "hidden_act": "relu"},
      "num_attention_heads=4 instead of 2; hidden_act='relu' instead of 'gelu'",
    ),
    ({"x": np.float32(1)}, "expected JSON in config"),
    ({"x": float("nan")}, "expected JSON in config"),
    ({"x": 2**31}, "an integer above 2,147,483,647"),
    ([1], "expected config to be entries"),
  ],
)
def test_entries_that_contradict_the_model_are_not_written(
  config, expected, bert, tmp_path
):
  with pytest.raises(UserError, match=expected) as error:
    transfer.save_pretrained(tmp_path, *bert, config=config)
  assert len(error.value.lines) == 3
  assert not list(tmp_path.iterdir())
  transfer.save_pretrained(tmp_path, *bert, config={"id": 3})
  config = json.loads((tmp_path / "config.json").read_text())
  assert (config["id"], config["model_type"]) == (3, "bert")


def test_the_model_of_an_own_config_is_compared(tmp_path):
  model = models.create("mlp", num_classes=3, widths=(4,))
  variables = initialized(model, np.zeros((1, 6), np.float32))
  for field in ({"widths": [5]}, {"widths": [4], "activation": "tanh"}):
    own = {"name": "mlp", "num_classes": 3, **field}
    with pytest.raises(UserError, match="instead of"):
      transfer.save_pretrained(
        tmp_path, model, variables, config={"model": own, "input": [6]}
      )


def test_own_models_of_token_ids_are_read_with_their_model(tmp_path):
  fields = {"vocab_size": 11, "width": 8, "depth": 1}
  for name, inputs in (("gpt2", (IDS,)), ("seq2seq", (IDS, IDS))):
    others = {"num_heads": 2, "max_length": 8} if name == "gpt2" else {}
    own = {"name": name, **fields, **others}
    model = models.create(**own)
    variables = initialized(model, *inputs)
    config = {"model": own, "input": [4]}
    transfer.save_pretrained(
      tmp_path, model, variables, family="dlcore", config=config
    )
    loaded, again = transfer.from_pretrained(tmp_path)
    assert loaded == model
    jax.tree.map(np.testing.assert_array_equal, again, variables)


def test_sizes_without_an_architecture_are_listed():
  model = models.create("efficientnet_lite0", depth_factor=1.5)
  with pytest.raises(
    UserError, match=r"got depth_factor=1\.5, unlike"
  ) as error:
    transfer.FAMILIES["timm/efficientnet_lite"].describe(model)
  assert all(line.isprintable() for line in error.value.lines)


@pytest.mark.parametrize(
  "published",
  [{"model_type": "bert"}, {"config.json": 3}, ["config.json"], 3],
)
def test_published_is_the_content_of_files_by_name(published, bert, tmp_path):
  with pytest.raises(UserError, match="expected published") as error:
    transfer.save_pretrained(tmp_path, *bert, published=published)
  assert len(error.value.lines) == 3


def test_a_refused_save_leaves_the_folder_as_it_was(bert, tmp_path):
  model, variables = bert
  transfer.save_pretrained(tmp_path, model, variables)
  before = {path: path.read_bytes() for path in tmp_path.iterdir()}
  others = changed(variables, **{LAYER: np.ones(8, np.float32)})
  generation = {
    "config.json": {"model_type": "bert"},
    "generation_config.json": {"x": {1}},
  }
  for arguments in ({"config": {"x": {1}}}, {"published": generation}):
    with pytest.raises(UserError, match="expected JSON in"):
      transfer.save_pretrained(tmp_path, model, others, **arguments)
  assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_own_weights_without_a_model_in_config_need_the_model(tmp_path):
  model = models.create("mlp", num_classes=3, widths=(4,))
  variables = initialized(model, np.zeros((1, 6), np.float32))
  assert transfer.save_pretrained(tmp_path, model, variables) == "dlcore"
  with pytest.raises(UserError, match="'model' and 'input'") as error:
    transfer.from_pretrained(tmp_path)
  assert "transfer.load_pretrained" in error.value.lines[2]
  for name in ("config.json", None):
    loaded, _ = transfer.load_pretrained(tmp_path, model, variables)
    jax.tree.map(np.testing.assert_array_equal, loaded, variables)
    if name:
      (tmp_path / name).unlink()
  with pytest.raises(UserError, match="got none") as error:
    transfer.from_pretrained(tmp_path)
  assert "transfer.load_pretrained" in error.value.lines[2]


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_network_for_time_series_is_written_with_its_input_size(
  cell, tmp_path
):
  model = models.create(cell, width=4, head=None)
  variables = initialized(model, np.zeros((1, 4, 3), np.float32))
  transfer.save_pretrained(tmp_path, model, variables, family=f"torch/{cell}")
  loaded, again = transfer.from_pretrained(tmp_path)
  assert loaded == model
  jax.tree.map(np.testing.assert_array_equal, again, variables)


def test_a_mixer_is_written_with_its_image_size(tmp_path):
  model = models.create("mixer", num_classes=3)
  variables = initialized(model, np.zeros((1, 64, 64, 1), np.float32))
  name = transfer.save_pretrained(tmp_path, model, variables)
  assert name == "timm/mixer"
  config = json.loads((tmp_path / "config.json").read_text())
  assert config["model_args"] == {"in_chans": 1, "img_size": 64}
  loaded, again = transfer.from_pretrained(tmp_path)
  assert loaded == model
  jax.tree.map(np.testing.assert_array_equal, again, variables)


HEADS = {"bert_base": "lm", "gpt2": "tokens", "vit_tiny": "lm"}


@pytest.mark.parametrize("name", HEADS)
def test_a_model_with_an_unknown_head_belongs_to_no_library(name):
  model = models.create(name, head=HEADS[name])
  assert transfer.default_family(model) == "dlcore"


def test_swapped_arguments_are_three_lines(bert, tmp_path):
  model, variables = bert
  transfer.save_pretrained(tmp_path, model, variables)
  path = str(tmp_path)
  calls = [
    lambda: transfer.load_pretrained(model, path, variables),
    lambda: transfer.load_pretrained(path, variables, model),
    lambda: transfer.load_pretrained(path, "bert_base", variables),
    lambda: transfer.load_pretrained(path, type(model), variables),
    lambda: transfer.load_pretrained(path, model, variables["params"]),
    lambda: transfer.load_pretrained(path, model, np.zeros(3)),
    lambda: transfer.from_pretrained(model),
    lambda: transfer.save_pretrained(model, variables, path),
    lambda: transfer.save_pretrained(path, variables, model),
    lambda: transfer.save_pretrained(path, model, variables["params"]),
    lambda: transfer.default_family(path),
    lambda: transfer.read_published(model),
    lambda: transfer.load_tokenizer(None),
    lambda: transfer.load_special_ids(None),
    lambda: transfer.initial(model),
  ]
  for number, call in enumerate(calls):
    with pytest.raises(UserError) as error:
      call()
    assert len(error.value.lines) == 3, number
    assert all(line.isprintable() for line in error.value.lines), number


@pytest.mark.parametrize(
  ("architecture", "family"),
  [
    ("vit_tiny_patch16_224.augreg_in21k", "timm/vit"),
    ("deit_tiny_patch16_224", "timm/deit"),
    ("resnet50.a1_in1k", "timm/resnet"),
    ("tf_efficientnet_lite0.in1k", "timm/efficientnet_lite"),
    ("mobilevit_s.cvnets_in1k", None),
    ("convnextv2_tiny.fcmae", None),
    ("resnetblur50.bt_in1k", None),
    ("seresnet50", None),
    ("deit3_small_patch16_224", None),
    ("mixer_b16_224_miil", None),
    ("vit_huge_patch14_224", None),
    (["resnet50"], None),
  ],
)
def test_an_architecture_of_timm_is_matched_exactly(
  architecture, family, tmp_path
):
  safetensors.write(tmp_path / "model.safetensors", {"x": np.zeros(1)})
  config = {"architecture": architecture, "num_classes": 1000}
  (tmp_path / "config.json").write_text(json.dumps(config))
  with pytest.raises(UserError) as error:
    transfer.from_pretrained(tmp_path)
  assert selection.config_family(config) == family
  is_refused = "dlcore has no such model" in error.value.lines[2]
  assert is_refused == (family is None)
